"""All tables (SQLAlchemy Core). One service writes each table; the table's comment names it.

The view `ohlcv`, triggers and storage parameters are only in the migrations, because Alembic does not compare them.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION, JSONB, TSTZMULTIRANGE, UUID

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
_SUBJECT = "Issuer and subject of an identity provider's token, as issuer#subject. Null: the caller had no such token."

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
    sa.Column("created_at", _instant, nullable=False, server_default=sa.func.now()),
    comment="Events that Kafka has not acknowledged yet. Written by admin-api in the transaction of the change, "
    "deleted by its relay.",
)

manual_runs = sa.Table(
    "manual_runs",
    metadata,
    sa.Column("run_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("config_id", sa.BigInteger, nullable=False, comment="No foreign key: the run outlives its config."),
    sa.Column("asked_at", _instant, nullable=False, comment="When the first trigger of this run was accepted."),
    sa.Column("initial_run_id", UUID(as_uuid=True), comment="The first run of a new config, for which this one waits."),
    sa.Column("lane", sa.Text, nullable=False, comment="The key of the tick."),
    sa.Column("tick", sa.LargeBinary, nullable=False, comment="The event's JSON."),
    sa.Column("headers", JSONB, nullable=False),
    sa.Column("released_at", _instant, comment="When the tick went to the outbox. Null: the run is held."),
    sa.Index("uq_manual_runs_held", "config_id", unique=True, postgresql_where=sa.text("released_at IS NULL")),
    sa.Index(None, "config_id"),
    comment="Triggers that were accepted and whose run has not ended. Written by admin-api.",
)

execution_logs = sa.Table(
    "job_execution_logs",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("job_name", sa.Text, nullable=False),
    sa.Column("job_type", sa.Text, nullable=False),
    sa.Column("symbol", sa.Text, nullable=False),
    sa.Column("exchange", sa.Text, nullable=False),
    sa.Column("timeframe", sa.Text, comment="Null, because a run collects all timeframes of its config."),
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
    sa.Column(
        "deadline_at", _instant, comment="A run that is still running some time after this has lost its collector."
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
    sa.Column("last_slot", _instant),
    sa.Column("next_fire_at", _instant),
    sa.Column("covered_until", _instant),
    sa.Column("updated_at", _instant, nullable=False, comment="When the scheduler published this state."),
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
    sa.Column("since", _instant, nullable=False, comment="The time of the first list that shows this state."),
    sa.Column("evidence", sa.Text, nullable=False, comment="The lists behind the state, in words."),
    sa.Column(
        "frozen_at", _instant, comment="The last time at which the market may have been traded. Null: it is listed."
    ),
    sa.Column(
        "missing_since", _instant, comment="The time of the first list without it. Null: it is in the last list."
    ),
    sa.Column(
        "missing_lists", sa.Integer, nullable=False, comment="The number of complete lists without it since then."
    ),
    sa.Column("last_listed", _instant, comment="The time of the last list with it. Null: it is in the last list."),
    sa.Column("renamed_to", sa.Text, comment="The symbol under which the exchange lists its id."),
    sa.Column("created_at", _instant, comment="The time that the exchange gives. It proves nothing."),
    sa.Index("ix_markets_frozen", "exchange", "symbol", postgresql_where=sa.text("frozen_at IS NOT NULL")),
    comment="The markets of the exchanges, as their lists show them. Written by log-writer.",
)

market_lists = sa.Table(
    "market_lists",
    metadata,
    sa.Column("exchange", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True, comment="spot or swap."),
    sa.Column("read_at", _instant, nullable=False),
    sa.Column("markets", sa.Integer, nullable=False, comment="The number of markets in the list."),
    sa.Column(
        "incomplete_since",
        _instant,
        comment="The time of the first of the newest lists that all lack a large part of the known markets. Null: the "
        "last list is complete.",
    ),
    comment="The last list of markets of each exchange. Written by log-writer.",
)

series = sa.Table(
    "series",
    metadata,
    sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("exchange", sa.Text, nullable=False),
    sa.Column("symbol", sa.Text, nullable=False),
    sa.Column("timeframe", sa.Text, nullable=False),
    sa.Column(
        "candle_count",
        sa.BigInteger,
        nullable=False,
        server_default="0",
        comment="Kept in the transaction that stores the candles, so exact: counting millions takes seconds.",
    ),
    sa.Column("first_open", _instant, comment="Null: no candle yet."),
    sa.Column("last_open", _instant),
    sa.UniqueConstraint("exchange", "symbol", "timeframe"),
    sa.Index(None, "symbol", "exchange", "timeframe"),
    comment="One row per (exchange, symbol, timeframe) that was collected, also without candles. Written by "
    "candle-writer.",
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
    sa.Column("trades", sa.BigInteger, comment="The number of trades. Null: the exchange did not send it."),
    sa.Column(
        "quote_volume",
        DOUBLE_PRECISION,
        comment="The volume in the quote currency. Null: the exchange did not send it.",
    ),
    sa.Column("source", sa.Text, comment="trades: built from trades. Null: the exchange's own candle."),
    comment="Closed candles. Written by candle-writer. Read them through the view ohlcv.",
)

coverage = sa.Table(
    "coverage",
    metadata,
    sa.Column("series_id", sa.Integer, sa.ForeignKey(series.c.id), primary_key=True, autoincrement=False),
    sa.Column(
        "verified",
        TSTZMULTIRANGE,
        nullable=False,
        comment="The spans that answers vouch for: all candles in them are stored. Never empty.",
    ),
    sa.Column("updated_at", _instant, nullable=False, comment="When the verified spans last grew."),
    sa.Column(
        "from_trades",
        TSTZMULTIRANGE,
        comment="The part of the verified spans that only candles from trades vouch for. Null: none.",
    ),
    comment="The verified spans of each series. Written by candle-writer in the transaction of the candles.",
)

absences = sa.Table(
    "absences",
    metadata,
    sa.Column("series_id", sa.Integer, sa.ForeignKey(series.c.id), primary_key=True, autoincrement=False),
    sa.Column("starts_at", _instant, primary_key=True),
    sa.Column("ends_at", _instant, nullable=False),
    sa.Column(
        "absence_class",
        sa.Text,
        nullable=False,
        comment="A value of AbsenceClass. Earlier releases wrote unproven (unknown) and lost (beyond_horizon).",
    ),
    sa.Column("evidence", sa.Text, nullable=False),
    sa.Column("first_seen", _instant, nullable=False, comment="The first check that reported this span, of any class."),
    sa.Column("last_checked", _instant, nullable=False, comment="The check that counts: the latest of this span."),
    sa.Column("run_id", UUID(as_uuid=True), nullable=False, comment="The run of the latest check."),
    sa.Column(
        "level", sa.SmallInteger, nullable=False, server_default="0", comment="The level of the evidence, 0 to 7."
    ),
    sa.Column("proof", JSONB, comment="The requests and answers: level, kind, asked, answered, at, run_ids."),
    sa.Column("recheck_at", _instant, comment="When the span is checked again. Null: at no certain time."),
    sa.CheckConstraint("starts_at < ends_at", name="span"),
    comment="Spans that could not be verified, with the reason. They overlap neither each other nor the verified spans "
    "of their series. Written by candle-writer in the transaction of the candles.",
)

rejected_candles = sa.Table(
    "rejected_candles",
    metadata,
    sa.Column("series_id", sa.Integer, sa.ForeignKey(series.c.id), primary_key=True, autoincrement=False),
    sa.Column("open_time", _instant, primary_key=True),
    sa.Column("row", sa.Text, primary_key=True, comment="The row as ccxt parsed it, as JSON."),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("first_seen", _instant, nullable=False),
    sa.Column("last_seen", _instant, nullable=False),
    sa.Column("times", sa.Integer, nullable=False, comment="The number of runs that saw it. 100: at least 100."),
    sa.Column("run_id", UUID(as_uuid=True), nullable=False, comment="The run that saw it last."),
    sa.Column(
        "run_ids",
        ARRAY(UUID(as_uuid=True)),
        nullable=False,
        comment="The runs that times counts, so that a replayed message is not counted again.",
    ),
    comment="Rows that cannot be candles and that the exchange repeated. Written by candle-writer.",
)

series_days = sa.Table(
    "series_days",
    metadata,
    sa.Column("series_id", sa.Integer, sa.ForeignKey(series.c.id), primary_key=True, autoincrement=False),
    sa.Column("day", sa.Date, primary_key=True, comment="UTC. A period belongs to the day in which it opens."),
    sa.Column(
        "unverified",
        sa.Integer,
        nullable=False,
        comment="The periods between the first and the last verified instant that are not verified.",
    ),
    sa.Column(
        "whole", sa.Integer, nullable=False, comment="The periods that are not verified, and whole by their absences."
    ),
    sa.Column(
        "answered",
        sa.Integer,
        nullable=False,
        comment="The periods that are not verified, and answered by their absences. Includes those that are whole.",
    ),
    sa.Index(None, "day"),
    comment="The days of a series on which something is missing. A day without a row is verified between the first and "
    "the last verified instant of its series, and not answered outside. Written by candle-writer in the transaction of "
    "the ledger.",
)

series_counts = sa.Table(
    "series_counts",
    metadata,
    sa.Column("series_id", sa.Integer, sa.ForeignKey(series.c.id), primary_key=True, autoincrement=False),
    sa.Column("anchor", _instant, nullable=False, comment="An edge of the periods with which the days were counted."),
    sa.Column("first_absence", _instant, comment="The start of the first absence. Null: there is none."),
    sa.Column("answered_until", _instant, comment="The end of the last absence of a final class. Null: none."),
    sa.Column("unverified", sa.BigInteger, nullable=False, comment="The sum over series_days, like the next columns."),
    sa.Column("whole", sa.BigInteger, nullable=False),
    sa.Column("answered", sa.BigInteger, nullable=False),
    sa.Column(
        "missing",
        sa.Interval,
        nullable=False,
        comment="The time in open holes and in absences of a final class. If it differs from the ledger, the series "
        "must be counted again.",
    ),
    comment="The sums over the days of each series. A series of an earlier release has no row until it is counted. "
    "Written by candle-writer in the transaction of the ledger.",
)

backfills = sa.Table(
    "backfills",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("selector", JSONB, nullable=False, comment="The selection of configs or series, as it was requested."),
    sa.Column("starts_at", _instant, comment="Null: the listing of each symbol."),
    sa.Column("ends_at", _instant, nullable=False),
    sa.Column("mode", sa.Text, nullable=False, comment="missing: the time that is not verified. all: the whole range."),
    sa.Column("state", sa.Text, nullable=False, server_default="active"),
    sa.Column("description", sa.Text),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", _instant, nullable=False, server_default=sa.func.now()),
    sa.Column("updated_at", _instant, nullable=False, server_default=sa.func.now()),
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
    sa.Column("claimed_at", _instant, nullable=False, comment="When a backfiller last compared it with the ledger."),
    sa.Column("missing_candles", sa.BigInteger, comment="As in the last announcement. Null: there was none."),
    sa.Column("is_whole", sa.Boolean, nullable=False, server_default=sa.false(), comment="No announcement follows."),
    comment="The announced progress of each backfill. Written by backfiller.",
)

series_plans = sa.Table(
    "series_plans",
    metadata,
    sa.Column("series_id", sa.Integer, sa.ForeignKey(series.c.id), primary_key=True, autoincrement=False),
    sa.Column("planned_at", _instant, comment="When the holes of the series were last compared with its chunks."),
    sa.Column("next_plan_at", _instant, nullable=False, comment="A backfiller plans the series at this time or later."),
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
    sa.Column("starts_at", _instant, nullable=False, comment="Later than at first if the older part was verified."),
    sa.Column("ends_at", _instant, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="waiting"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0", comment="The attempts that have ended."),
    sa.Column(
        "retries",
        sa.Integer,
        nullable=False,
        server_default="0",
        comment="The attempts since the last one that verified a part of the chunk.",
    ),
    sa.Column("next_attempt_at", _instant, nullable=False, comment="A waiting chunk is requested then, or later."),
    sa.Column("loss_at", _instant, comment="When the exchange stops offering its oldest candle. Null: unknown."),
    sa.Column("run_id", UUID(as_uuid=True), comment="The run of the latest attempt."),
    sa.Column(
        "claimed_until",
        _instant,
        comment="A backfiller publishes the request until then. Null: none does. If it is past, the backfiller has "
        "probably crashed, and another one publishes the same request.",
    ),
    sa.Column("requested_at", _instant, comment="When the latest attempt was published."),
    sa.Column(
        "answered_at",
        _instant,
        comment="When the run of the latest attempt ended. The chunk then waits for its candles in the ledger. Null: "
        "the run has not ended, or the chunk does not wait for the ledger.",
    ),
    sa.Column("deadline_at", _instant, comment="The wait for the run or for the ledger ends at this time."),
    sa.Column("reason", sa.Text, comment="The result of the latest attempt, or what the chunk waits for, in words."),
    sa.Column("error_class", sa.Text, comment="The error class of the latest attempt. Null: it succeeded."),
    sa.Column("created_at", _instant, nullable=False, server_default=sa.func.now()),
    sa.Column("ended_at", _instant, comment="When it became verified, classified, or cancelled."),
    sa.CheckConstraint("starts_at < ends_at", name="span"),
    sa.CheckConstraint(
        "state IN ('waiting', 'requested', 'verified', 'classified', 'failed', 'cancelled')", name="state"
    ),
    sa.Index("uq_backfill_chunks_run_id", "run_id", unique=True),
    # The order in which new chunks are requested, and the one of retries.
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
    sa.Column("paused_until", _instant, nullable=False, comment="No chunk of the lane is requested before this time."),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("reported_at", _instant, nullable=False, comment="When a collector reported the state of the exchange."),
    comment="The exchanges that are throttled, banned or unreachable. Written by backfiller.",
)

api_tokens = sa.Table(
    "api_tokens",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("public_id", sa.Text, nullable=False, comment="The public part of the token, by which its row is found."),
    sa.Column(
        "secret_hash", sa.LargeBinary, nullable=False, comment="SHA-256 of the secret part, which is 256 random bits."
    ),
    sa.Column("created_at", _instant, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("expires_at", _instant, comment="Null: never."),
    sa.Column("last_used_at", _instant, comment="Precise to the minute."),
    sa.Column("revoked_at", _instant),
    sa.UniqueConstraint("public_id"),
    sa.CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="role"),
    comment="The API tokens and their roles. Written by admin-api.",
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column(
        "id_hash",
        sa.LargeBinary,
        primary_key=True,
        comment="HMAC of the cookie's value with the bootstrap token as key.",
    ),
    sa.Column(
        "token_id",
        sa.BigInteger,
        sa.ForeignKey(api_tokens.c.id),
        comment="Null: the session was not opened with an API token.",
    ),
    sa.Column("actor_kind", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("address", sa.Text),
    sa.Column("created_at", _instant, nullable=False),
    sa.Column("last_seen_at", _instant, nullable=False),
    sa.Column("expires_at", _instant, nullable=False, comment="The session ends at this time at the latest."),
    sa.Column("revoked_at", _instant),
    sa.Column("subject", sa.Text, comment=_SUBJECT),
    sa.CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="role"),
    sa.Index(None, "expires_at"),
    comment="The sessions of browsers, opened with a token. Written by admin-api.",
)

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("at", _instant, nullable=False),
    sa.Column("actor_kind", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("token_id", sa.BigInteger, comment="No foreign key, because entries outlive their token."),
    sa.Column("address", sa.Text),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("object_type", sa.Text, nullable=False),
    sa.Column("object_id", sa.Text),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("before", JSONB),
    sa.Column("after", JSONB),
    sa.Column("subject", sa.Text, comment=_SUBJECT),
    sa.CheckConstraint("outcome IN ('done', 'refused')", name="outcome"),
    # One index for each filter of the API. The list is ordered by (at, id).
    sa.Index(None, "at", "id"),
    sa.Index(None, "actor", "at", "id"),
    sa.Index(None, "action", "at", "id"),
    sa.Index(None, "object_type", "object_id", "at", "id"),
    sa.Index(None, "request_id", "at", "id"),
    sa.Index("ix_audit_log_refused", "at", "id", postgresql_where=sa.text("outcome = 'refused'")),
    comment="All changes and refused requests. A trigger prevents that rows are changed or deleted. Written by "
    "admin-api in the transaction of the change.",
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
    sa.Column("created_at", _instant, nullable=False),
    sa.Column("expires_at", _instant, nullable=False),
    sa.Column(
        "status", sa.Integer, nullable=False, comment="The status of the stored response, like the columns after it."
    ),
    sa.Column("headers", JSONB, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index(None, "expires_at"),
    comment="Stored responses, for requests that are sent again. Written by admin-api in the transaction of the "
    "change.",
)
