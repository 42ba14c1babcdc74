"""The tables of configs and of the writes of admin-api."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from store.tables.base import INSTANT, metadata

configs = sa.Table(
    "data_collection_configs",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("symbol", sa.Text, nullable=False),
    sa.Column("exchange", sa.Text, nullable=False),
    sa.Column("timeframes", ARRAY(sa.Text), nullable=False),
    sa.Column("interval_minutes", sa.Integer, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("job_id", sa.Text, sa.Computed("'collect_data_' || id::text", persisted=True), nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
    sa.Column("created_at", INSTANT, nullable=False, server_default=sa.func.now()),
    sa.Column("updated_at", INSTANT, nullable=False, server_default=sa.func.now()),
    sa.Column(
        "start_date",
        sa.Text,
        comment="The day (YYYY-MM-DD, UTC) from which the history is kept complete, or listing. Null: from the first "
        "run.",
    ),
    sa.CheckConstraint("interval_minutes BETWEEN 1 AND 10080", name="interval_minutes"),
    sa.CheckConstraint("cardinality(timeframes) > 0", name="timeframes"),
    sa.Index(None, "exchange", "symbol"),
    # One index for each sort order of the API's list.
    *(sa.Index(None, column, "id") for column in ("symbol", "exchange", "created_at", "updated_at")),
    comment="The configs to collect. Written by admin-api.",
)

config_timeframes = sa.Table(
    "config_timeframes",
    metadata,
    sa.Column("exchange", sa.Text, primary_key=True),
    sa.Column("symbol", sa.Text, primary_key=True),
    sa.Column("timeframe", sa.Text, primary_key=True),
    sa.Column("config_id", sa.BigInteger, sa.ForeignKey(configs.c.id, ondelete="CASCADE"), nullable=False),
    sa.Index(None, "config_id"),
    comment="The config that collects a timeframe. The key prevents that two configs collect the same timeframe. "
    "Written by admin-api with each config.",
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("value", sa.LargeBinary, comment="The event's JSON; null is a tombstone."),
    sa.Column("headers", JSONB, nullable=False, server_default="{}"),
    sa.Column("created_at", INSTANT, nullable=False, server_default=sa.func.now()),
    comment="Events that Kafka has not acknowledged yet. Written by admin-api in the transaction of the change, "
    "deleted by its relay.",
)

manual_runs = sa.Table(
    "manual_runs",
    metadata,
    sa.Column("run_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("config_id", sa.BigInteger, nullable=False, comment="No foreign key: the run outlives its config."),
    sa.Column("asked_at", INSTANT, nullable=False, comment="When the first trigger of this run was accepted."),
    sa.Column("initial_run_id", UUID(as_uuid=True), comment="The first run of a new config, for which this one waits."),
    sa.Column("lane", sa.Text, nullable=False, comment="The key of the tick."),
    sa.Column("tick", sa.LargeBinary, nullable=False, comment="The event's JSON."),
    sa.Column("headers", JSONB, nullable=False),
    sa.Column("released_at", INSTANT, comment="When the tick went to the outbox. Null: the run is held."),
    sa.Index("uq_manual_runs_held", "config_id", unique=True, postgresql_where=sa.text("released_at IS NULL")),
    sa.Index(None, "config_id"),
    comment="Triggers that were accepted and whose run has not ended. Written by admin-api.",
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("actor", sa.Text, primary_key=True, comment="Each caller has its own keys."),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("method", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column(
        "request_hash",
        sa.LargeBinary,
        nullable=False,
        comment="Hash of everything that determines the effect of the request.",
    ),
    sa.Column("created_at", INSTANT, nullable=False),
    sa.Column("expires_at", INSTANT, nullable=False),
    sa.Column(
        "status", sa.Integer, nullable=False, comment="The status of the stored response, like the columns after it."
    ),
    sa.Column("headers", JSONB, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index(None, "expires_at"),
    comment="Stored responses, for requests that are sent again. Written by admin-api in the transaction of the "
    "change.",
)

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("receiver", sa.Text, primary_key=True, comment="Hash of the receiver's address without its secrets."),
    sa.Column("exchange", sa.Text, primary_key=True),
    sa.Column("cause", sa.Text, primary_key=True, comment="Such as failed_runs:banned or stuck_runs."),
    sa.Column("since", INSTANT, nullable=False, comment="The first failure, or the time of the next loss."),
    sa.Column("size", sa.BigInteger, nullable=False, comment="The number of configs, runs or series, as last seen."),
    sa.Column("total", sa.BigInteger, nullable=False, comment="The number of configs of the exchange, or 0."),
    sa.Column("example", sa.Text, nullable=False),
    sa.Column("first_seen", INSTANT, nullable=False),
    sa.Column("last_seen", INSTANT, nullable=False),
    sa.Column("reported_at", INSTANT, comment="When the receiver accepted the last message. Null: there was none yet."),
    comment="The problems that receivers of notifications know, until they are resolved. Written by admin-api.",
)
