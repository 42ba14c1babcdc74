"""The tables of backfills and of their chunks."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, UUID

from store.tables.base import INSTANT, metadata
from store.tables.candles import series

backfills = sa.Table(
    "backfills",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("selector", JSONB, nullable=False, comment="The selection of configs or series, as it was requested."),
    sa.Column("starts_at", INSTANT, comment="Null: the listing of each symbol."),
    sa.Column("ends_at", INSTANT, nullable=False),
    sa.Column("mode", sa.Text, nullable=False, comment="missing: the time that is not verified. all: the whole range."),
    sa.Column("state", sa.Text, nullable=False, server_default="active"),
    sa.Column("description", sa.Text),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", INSTANT, nullable=False, server_default=sa.func.now()),
    sa.Column("updated_at", INSTANT, nullable=False, server_default=sa.func.now()),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
    sa.Column(
        "source",
        sa.Text,
        nullable=False,
        server_default="candles",
        comment="trades: time without candles of the exchange is built from its trades. candles: it is not.",
    ),
    sa.CheckConstraint("starts_at < ends_at", name="span"),
    sa.CheckConstraint("mode IN ('missing', 'all')", name="mode"),
    sa.CheckConstraint("state IN ('active', 'paused', 'cancelled')", name="state"),
    comment="The backfills that people requested. Written by admin-api.",
)

backfill_series = sa.Table(
    "backfill_series",
    metadata,
    sa.Column("backfill_id", sa.BigInteger, sa.ForeignKey(backfills.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("exchange", sa.Text, primary_key=True),
    sa.Column("symbol", sa.Text, primary_key=True),
    sa.Column("timeframe", sa.Text, primary_key=True),
    sa.Column("config_id", sa.BigInteger, nullable=False, comment="No foreign key: a backfill outlives its config."),
    sa.Index(None, "exchange", "symbol", "timeframe"),
    comment="The series of each backfill, found when it was created. Written by admin-api.",
)

backfill_progress = sa.Table(
    "backfill_progress",
    metadata,
    sa.Column("backfill_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("claimed_at", INSTANT, nullable=False, comment="When a backfiller last compared it with the ledger."),
    sa.Column("missing_candles", sa.BigInteger, comment="As in the last announcement. Null: there was none."),
    sa.Column("is_whole", sa.Boolean, nullable=False, server_default=sa.false(), comment="No announcement follows."),
    comment="The announced progress of each backfill. Written by backfiller.",
)

series_plans = sa.Table(
    "series_plans",
    metadata,
    sa.Column("series_id", sa.Integer, sa.ForeignKey(series.c.id), primary_key=True, autoincrement=False),
    sa.Column("planned_at", INSTANT, comment="When the holes of the series were last compared with its chunks."),
    sa.Column("next_plan_at", INSTANT, nullable=False, comment="A backfiller plans the series at this time or later."),
    sa.Index(None, "next_plan_at"),
    comment="The plan of each series. A backfiller locks the row while it plans the series. Written by backfiller.",
)

backfill_chunks = sa.Table(
    "backfill_chunks",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("series_id", sa.Integer, sa.ForeignKey(series.c.id), nullable=False),
    sa.Column("config_id", sa.BigInteger, nullable=False, comment="No foreign key: a chunk outlives its config."),
    sa.Column("exchange", sa.Text, nullable=False),
    sa.Column("lane", sa.Text, comment="The lane of the latest attempt."),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("backfill_id", sa.BigInteger, comment="Null: for the start date of the config, or for a hole."),
    sa.Column("starts_at", INSTANT, nullable=False, comment="Later than at first if the older part was verified."),
    sa.Column("ends_at", INSTANT, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="waiting"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0", comment="The attempts that have ended."),
    sa.Column(
        "retries",
        sa.Integer,
        nullable=False,
        server_default="0",
        comment="The attempts since the last one that verified a part of the chunk.",
    ),
    sa.Column("next_attempt_at", INSTANT, nullable=False, comment="A waiting chunk is requested then, or later."),
    sa.Column("loss_at", INSTANT, comment="When the exchange stops offering its oldest candle. Null: unknown."),
    sa.Column("run_id", UUID(as_uuid=True), comment="The run of the latest attempt."),
    sa.Column(
        "claimed_until",
        INSTANT,
        comment="A backfiller publishes the request until then. Null: none does. If it is past, the backfiller has "
        "probably crashed, and another one publishes the same request.",
    ),
    sa.Column("requested_at", INSTANT, comment="When the latest attempt was published."),
    sa.Column(
        "answered_at",
        INSTANT,
        comment="When the run of the latest attempt ended. The chunk then waits for its candles in the ledger. Null: "
        "the run has not ended, or the chunk does not wait for the ledger.",
    ),
    sa.Column("deadline_at", INSTANT, comment="The wait for the run or for the ledger ends at this time."),
    sa.Column("reason", sa.Text, comment="The result of the latest attempt, or what the chunk waits for, in words."),
    sa.Column("error_class", sa.Text, comment="The error class of the latest attempt. Null: it succeeded."),
    sa.Column("created_at", INSTANT, nullable=False, server_default=sa.func.now()),
    sa.Column("ended_at", INSTANT, comment="When it became verified, classified, or cancelled."),
    sa.CheckConstraint("starts_at < ends_at", name="span"),
    sa.CheckConstraint(
        "state IN ('waiting', 'requested', 'verified', 'classified', 'failed', 'cancelled')", name="state"
    ),
    sa.Index("uq_backfill_chunks_run_id", "run_id", unique=True),
    # The first index has the order of the requests for new chunks, the second one the order of retries.
    sa.Index(
        "ix_backfill_chunks_waiting",
        *("exchange", "loss_at", sa.text("starts_at DESC")),
        postgresql_where=sa.text("state IN ('waiting', 'failed') AND claimed_until IS NULL AND retries = 0"),
    ),
    sa.Index(
        "ix_backfill_chunks_retries",
        *("exchange", "next_attempt_at"),
        postgresql_where=sa.text("state IN ('waiting', 'failed') AND claimed_until IS NULL AND retries > 0"),
    ),
    sa.Index("ix_backfill_chunks_claimed", "claimed_until", postgresql_where=sa.text("claimed_until IS NOT NULL")),
    sa.Index("ix_backfill_chunks_requested", "deadline_at", postgresql_where=sa.text("state = 'requested'")),
    sa.Index(
        "ix_backfill_chunks_open",
        *("series_id", "starts_at"),
        postgresql_where=sa.text("state IN ('waiting', 'requested', 'failed')"),
    ),
    sa.Index(None, "backfill_id", "id"),
    sa.Index(None, "series_id", "backfill_id", postgresql_where=sa.text("backfill_id IS NOT NULL")),
    comment="The spans that are requested from the exchanges, one run each. Written by backfiller.",
)

lane_pauses = sa.Table(
    "lane_pauses",
    metadata,
    sa.Column("lane", sa.Text, primary_key=True, comment="The exchange id, plus #n if it has several lanes."),
    sa.Column("paused_until", INSTANT, nullable=False, comment="No chunk of the lane is requested before this time."),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("reported_at", INSTANT, nullable=False, comment="When a collector reported the state of the exchange."),
    comment="The exchanges that are throttled, banned or unreachable. Written by backfiller.",
)
