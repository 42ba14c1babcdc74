"""The tables of runs, and of the markets that exchanges list. Log-writer writes them."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION, JSONB, UUID

from store.tables.base import INSTANT, metadata

execution_logs = sa.Table(
    "job_execution_logs",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("job_name", sa.Text, nullable=False),
    sa.Column("job_type", sa.Text, nullable=False),
    sa.Column("symbol", sa.Text, nullable=False),
    sa.Column("exchange", sa.Text, nullable=False),
    sa.Column("timeframe", sa.Text, comment="Null, because a run collects all timeframes of its config."),
    sa.Column("started_at", INSTANT, nullable=False),
    sa.Column("finished_at", INSTANT),
    sa.Column("duration_seconds", DOUBLE_PRECISION),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("records_collected", sa.Integer, nullable=False, server_default="0"),
    sa.Column("error_message", sa.Text),
    sa.Column("metadata", JSONB, nullable=False, server_default="{}"),
    sa.Column("run_id", UUID(as_uuid=True), nullable=False),
    sa.Column("config_id", sa.BigInteger, nullable=False, comment="No foreign key: logs outlive their config."),
    sa.Column("trigger", sa.Text, nullable=False),
    sa.Column("scheduled_for", INSTANT, nullable=False),
    sa.Column("error_class", sa.Text),
    sa.Column(
        "deadline_at", INSTANT, comment="A run that is still running some time after this has lost its collector."
    ),
    sa.Column(
        "closed_by_sweep",
        sa.Boolean,
        nullable=False,
        server_default="false",
        comment="The end was assumed, not reported. A reported end replaces it.",
    ),
    sa.UniqueConstraint("run_id"),
    sa.CheckConstraint("status IN ('running', 'success', 'failed', 'skipped')", name="status"),
    # One index for each filter of the API. Every list is ordered by (started_at, id). The columns after these two let
    # Postgres check a second filter in the index, so that it fetches and counts only rows that match both.
    sa.Index(None, "started_at", "id"),
    sa.Index("ix_job_execution_logs_job_name", "job_name", "started_at", "id", "status"),
    sa.Index("ix_job_execution_logs_symbol", "symbol", "started_at", "id", "exchange", "status"),
    sa.Index("ix_job_execution_logs_exchange", "exchange", "started_at", "id", "status"),
    sa.Index(None, "status", "started_at", "id"),
    # Few of the millions of runs of an exchange failed.
    sa.Index(
        "ix_job_execution_logs_exchange_unsuccessful",
        *("exchange", "status", "started_at", "id"),
        postgresql_where=sa.text("status IN ('failed', 'skipped')"),
    ),
    # Reports read the included columns from the index, without the rows.
    sa.Index(
        "ix_job_execution_logs_job_type",
        *("job_type", "started_at", "id"),
        postgresql_include=["exchange", "symbol", "status", "records_collected", "duration_seconds"],
    ),
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
    sa.Column("last_slot", INSTANT),
    sa.Column("next_fire_at", INSTANT),
    sa.Column("covered_until", INSTANT),
    sa.Column("updated_at", INSTANT, nullable=False, comment="When the scheduler published this state."),
    sa.Index("ix_scheduled_jobs_next_fire_at", "next_fire_at", postgresql_where=sa.text("active")),
    comment="The latest state of each schedule. Written by log-writer from schedule-state.",
)

markets = sa.Table(
    "markets",
    metadata,
    sa.Column("exchange", sa.Text, primary_key=True),
    sa.Column("symbol", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False, comment="spot or swap: the list that has the market."),
    sa.Column("market_id", sa.Text, nullable=False, comment="The exchange's own name of the market."),
    sa.Column("state", sa.Text, nullable=False, comment="listed, suspended, renamed or delisted."),
    sa.Column("since", INSTANT, nullable=False, comment="The time of the first list that shows this state."),
    sa.Column("evidence", sa.Text, nullable=False, comment="The lists behind the state, in words."),
    sa.Column(
        "frozen_at", INSTANT, comment="The last time at which the market may have been traded. Null: it is listed."
    ),
    sa.Column("missing_since", INSTANT, comment="The time of the first list without it. Null: it is in the last list."),
    sa.Column(
        "missing_lists", sa.Integer, nullable=False, comment="The number of complete lists without it since then."
    ),
    sa.Column("last_listed", INSTANT, comment="The time of the last list with it. Null: it is in the last list."),
    sa.Column("renamed_to", sa.Text, comment="The symbol under which the exchange lists its id."),
    sa.Column("created_at", INSTANT, comment="The time that the exchange gives. It proves nothing."),
    sa.Index("ix_markets_frozen", "exchange", "symbol", postgresql_where=sa.text("frozen_at IS NOT NULL")),
    comment="The markets of the exchanges, as their lists show them. Written by log-writer.",
)

market_lists = sa.Table(
    "market_lists",
    metadata,
    sa.Column("exchange", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True, comment="spot or swap."),
    sa.Column("read_at", INSTANT, nullable=False),
    sa.Column("markets", sa.Integer, nullable=False, comment="The number of markets in the list."),
    sa.Column(
        "incomplete_since",
        INSTANT,
        comment="The time of the first of the newest lists that all lack a large part of the known markets. Null: the "
        "last list is complete.",
    ),
    comment="The last list of markets of each exchange. Written by log-writer.",
)
