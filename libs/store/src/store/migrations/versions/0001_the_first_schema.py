"""The first schema

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "data_collection_configs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("timeframes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("interval_minutes", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("job_id", sa.Text(), sa.Computed("'collect_data_' || id::text", persisted=True), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("cardinality(timeframes) > 0", name=op.f("ck_data_collection_configs_timeframes")),
        sa.CheckConstraint(
            "interval_minutes BETWEEN 1 AND 10080", name=op.f("ck_data_collection_configs_interval_minutes")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_collection_configs")),
        comment="The configs to collect. Written by admin-api.",
    )
    op.create_index(
        op.f("ix_data_collection_configs_exchange_symbol"),
        "data_collection_configs",
        ["exchange", "symbol"],
        unique=False,
    )
    op.create_table(
        "job_execution_logs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("job_name", sa.Text(), nullable=False),
        sa.Column("job_type", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.Text(), nullable=True, comment="Null, because a run collects all timeframes of its config."),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("finished_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("duration_seconds", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("records_collected", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("run_id", sa.UUID(), nullable=False),
        sa.Column("config_id", sa.BigInteger(), nullable=False, comment="No foreign key: logs outlive their config."),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("scheduled_for", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column(
            "deadline_at",
            sa.TIMESTAMP(timezone=True),
            nullable=True,
            comment="A run that is still running some time after this has lost its collector.",
        ),
        sa.Column(
            "closed_by_sweep",
            sa.Boolean(),
            server_default="false",
            nullable=False,
            comment="The end was assumed, not reported. A reported end replaces it.",
        ),
        sa.CheckConstraint(
            "status IN ('running', 'success', 'failed', 'skipped')", name=op.f("ck_job_execution_logs_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_execution_logs")),
        sa.UniqueConstraint("run_id", name=op.f("uq_job_execution_logs_run_id")),
        comment="One row per run. Written by log-writer.",
    )
    op.create_index(
        op.f("ix_job_execution_logs_exchange_started_at_id"),
        "job_execution_logs",
        ["exchange", "started_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_job_execution_logs_job_name_started_at_id"),
        "job_execution_logs",
        ["job_name", "started_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_job_execution_logs_job_type_started_at_id"),
        "job_execution_logs",
        ["job_type", "started_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_job_execution_logs_open_deadline",
        "job_execution_logs",
        ["deadline_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index(
        op.f("ix_job_execution_logs_started_at_id"), "job_execution_logs", ["started_at", "id"], unique=False
    )
    op.create_index(
        op.f("ix_job_execution_logs_status_started_at_id"),
        "job_execution_logs",
        ["status", "started_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_job_execution_logs_symbol_started_at_id"),
        "job_execution_logs",
        ["symbol", "started_at", "id"],
        unique=False,
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=True, comment="The event's JSON; null is a tombstone."),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        comment="Events that Kafka has not acknowledged yet. Written by admin-api in the transaction of the change, deleted by its relay.",
    )
    op.create_table(
        "scheduled_jobs",
        sa.Column("config_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("job_name", sa.Text(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("interval_minutes", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("config_version", sa.BigInteger(), nullable=False),
        sa.Column("last_slot", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("next_fire_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("covered_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), nullable=False, comment="When the scheduler published this state."),
        sa.PrimaryKeyConstraint("config_id", name=op.f("pk_scheduled_jobs")),
        comment="The latest state of each schedule. Written by log-writer from schedule-state.",
    )
    op.create_index(
        "ix_scheduled_jobs_next_fire_at",
        "scheduled_jobs",
        ["next_fire_at"],
        unique=False,
        postgresql_where=sa.text("active"),
    )
    op.create_table(
        "series",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
        sa.UniqueConstraint("exchange", "symbol", "timeframe", name=op.f("uq_series_exchange_symbol_timeframe")),
        comment="One row per (exchange, symbol, timeframe) that has candles. Written by candle-writer.",
    )
    op.create_table(
        "candles",
        sa.Column("series_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("open_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("open", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("high", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("low", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("close", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("volume", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column(
            "fetched_at",
            sa.TIMESTAMP(timezone=True),
            nullable=False,
            comment="An older fetch never overwrites a newer one.",
        ),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_candles_series_id")),
        sa.PrimaryKeyConstraint("series_id", "open_time", name=op.f("pk_candles")),
        comment="Closed candles. Written by candle-writer. Read them through the view ohlcv.",
    )
    op.create_table(
        "config_timeframes",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.Text(), nullable=False),
        sa.Column("config_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["config_id"],
            ["data_collection_configs.id"],
            name=op.f("fk_config_timeframes_config_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("exchange", "symbol", "timeframe", name=op.f("pk_config_timeframes")),
        comment="The config that collects a timeframe. The key prevents that two configs collect the same timeframe. Written by admin-api with each config.",
    )
    op.create_index(op.f("ix_config_timeframes_config_id"), "config_timeframes", ["config_id"], unique=False)
    op.execute(
        """
        CREATE VIEW ohlcv AS
        SELECT s.exchange, s.symbol, s.timeframe, c.open_time, c.open, c.high, c.low, c.close, c.volume, c.fetched_at
        FROM candles c JOIN series s ON s.id = c.series_id
        """
    )
    op.execute("COMMENT ON VIEW ohlcv IS 'Candles by exchange, symbol and timeframe, for queries by people.'")
    # Every run writes to these tables, so vacuum them sooner than the default of 20 % dead rows.
    op.execute("ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)")
    op.execute("ALTER TABLE scheduled_jobs SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05)")


def downgrade() -> None:
    op.execute("DROP VIEW ohlcv")
    op.drop_index(op.f("ix_config_timeframes_config_id"), table_name="config_timeframes")
    op.drop_table("config_timeframes")
    op.drop_table("candles")
    op.drop_table("series")
    op.drop_index("ix_scheduled_jobs_next_fire_at", table_name="scheduled_jobs", postgresql_where=sa.text("active"))
    op.drop_table("scheduled_jobs")
    op.drop_table("outbox")
    op.drop_index(op.f("ix_job_execution_logs_symbol_started_at_id"), table_name="job_execution_logs")
    op.drop_index(op.f("ix_job_execution_logs_status_started_at_id"), table_name="job_execution_logs")
    op.drop_index(op.f("ix_job_execution_logs_started_at_id"), table_name="job_execution_logs")
    op.drop_index(
        "ix_job_execution_logs_open_deadline",
        table_name="job_execution_logs",
        postgresql_where=sa.text("status = 'running'"),
    )
    op.drop_index(op.f("ix_job_execution_logs_job_type_started_at_id"), table_name="job_execution_logs")
    op.drop_index(op.f("ix_job_execution_logs_job_name_started_at_id"), table_name="job_execution_logs")
    op.drop_index(op.f("ix_job_execution_logs_exchange_started_at_id"), table_name="job_execution_logs")
    op.drop_table("job_execution_logs")
    op.drop_index(op.f("ix_data_collection_configs_exchange_symbol"), table_name="data_collection_configs")
    op.drop_table("data_collection_configs")
