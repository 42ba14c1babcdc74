"""Every table, each with the one service that writes it. SQLAlchemy Core: rows are read as rows, written as sets.

Where Alembic's comparison cannot look (the view `ohlcv`, storage parameters), the migration is the only source.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION, JSONB, UUID

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_instant = sa.TIMESTAMP(timezone=True)

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
    sa.Column("created_at", _instant, nullable=False, server_default=sa.func.now()),
    sa.Column("updated_at", _instant, nullable=False, server_default=sa.func.now()),
    sa.CheckConstraint("interval_minutes BETWEEN 1 AND 10080", name="interval_minutes"),
    sa.CheckConstraint("cardinality(timeframes) > 0", name="timeframes"),
    sa.Index(None, "exchange", "symbol"),
    comment="What to collect. Written by admin-api.",
)

config_timeframes = sa.Table(
    "config_timeframes",
    metadata,
    sa.Column("exchange", sa.Text, primary_key=True),
    sa.Column("symbol", sa.Text, primary_key=True),
    sa.Column("timeframe", sa.Text, primary_key=True),
    sa.Column("config_id", sa.BigInteger, sa.ForeignKey(configs.c.id, ondelete="CASCADE"), nullable=False),
    sa.Index(None, "config_id"),
    comment="Which config collects a timeframe: the key that keeps two configs from collecting the same. "
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
    sa.Column("created_at", _instant, nullable=False, server_default=sa.func.now()),
    comment="Announcements not yet acknowledged by Kafka. Written by admin-api in the transaction of the change; "
    "emptied by its relay.",
)

execution_logs = sa.Table(
    "job_execution_logs",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("job_name", sa.Text, nullable=False),
    sa.Column("job_type", sa.Text, nullable=False),
    sa.Column("symbol", sa.Text, nullable=False),
    sa.Column("exchange", sa.Text, nullable=False),
    sa.Column("timeframe", sa.Text, comment="Null: a run collects all timeframes of its config."),
    sa.Column("started_at", _instant, nullable=False),
    sa.Column("finished_at", _instant),
    sa.Column("duration_seconds", DOUBLE_PRECISION),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("records_collected", sa.Integer, nullable=False, server_default="0"),
    sa.Column("error_message", sa.Text),
    sa.Column("metadata", JSONB, nullable=False, server_default="{}"),
    sa.Column("run_id", UUID(as_uuid=True), nullable=False),
    sa.Column("config_id", sa.BigInteger, nullable=False, comment="No foreign key: logs outlive their config."),
    sa.Column("trigger", sa.Text, nullable=False),
    sa.Column("scheduled_for", _instant, nullable=False),
    sa.Column("error_class", sa.Text),
    sa.Column("deadline_at", _instant, comment="Past this plus a grace a running run has lost its collector."),
    sa.Column(
        "closed_by_sweep",
        sa.Boolean,
        nullable=False,
        server_default="false",
        comment="The ending was presumed, not reported: a real one still replaces it.",
    ),
    sa.UniqueConstraint("run_id"),
    sa.CheckConstraint("status IN ('running', 'success', 'failed', 'skipped')", name="status"),
    # A filter of the API each; every list is ordered by (started_at, id) descending.
    sa.Index(None, "started_at", "id"),
    sa.Index(None, "job_name", "started_at", "id"),
    sa.Index(None, "symbol", "started_at", "id"),
    sa.Index(None, "exchange", "started_at", "id"),
    sa.Index(None, "status", "started_at", "id"),
    sa.Index(None, "job_type", "started_at", "id"),
    sa.Index("ix_job_execution_logs_open_deadline", "deadline_at", postgresql_where=sa.text("status = 'running'")),
    comment="One row per run. Written by log-writer.",
)

scheduled_jobs = sa.Table(
    "scheduled_jobs",
    metadata,
    sa.Column("config_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("job_name", sa.Text, nullable=False),
    sa.Column("exchange", sa.Text, nullable=False),
    sa.Column("symbol", sa.Text, nullable=False),
    sa.Column("interval_minutes", sa.Integer, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("config_version", sa.BigInteger, nullable=False),
    sa.Column("last_slot", _instant),
    sa.Column("next_fire_at", _instant),
    sa.Column("covered_until", _instant),
    sa.Column("updated_at", _instant, nullable=False, comment="When the scheduler said so."),
    sa.Index("ix_scheduled_jobs_next_fire_at", "next_fire_at", postgresql_where=sa.text("active")),
    comment="What the scheduler holds, as of its last word. Written by log-writer from schedule-state.",
)

series = sa.Table(
    "series",
    metadata,
    sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("exchange", sa.Text, nullable=False),
    sa.Column("symbol", sa.Text, nullable=False),
    sa.Column("timeframe", sa.Text, nullable=False),
    sa.UniqueConstraint("exchange", "symbol", "timeframe"),
    comment="A (exchange, symbol, timeframe) that has candles. Written by candle-writer.",
)

candles = sa.Table(
    "candles",
    metadata,
    sa.Column("series_id", sa.Integer, sa.ForeignKey(series.c.id), primary_key=True, autoincrement=False),
    sa.Column("open_time", _instant, primary_key=True),
    sa.Column("open", DOUBLE_PRECISION, nullable=False),
    sa.Column("high", DOUBLE_PRECISION, nullable=False),
    sa.Column("low", DOUBLE_PRECISION, nullable=False),
    sa.Column("close", DOUBLE_PRECISION, nullable=False),
    sa.Column("volume", DOUBLE_PRECISION, nullable=False),
    sa.Column("fetched_at", _instant, nullable=False, comment="An older fetch never overwrites a newer one."),
    comment="Closed candles. Written by candle-writer. Read them through the view ohlcv.",
)
