"""The tables of candles, of the ledger and of the daily counts. Candle-writer writes them."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION, JSONB, TSTZMULTIRANGE, UUID

from store.tables.base import INSTANT, metadata

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
    sa.Column("first_open", INSTANT, comment="Null: no candle yet."),
    sa.Column("last_open", INSTANT),
    sa.UniqueConstraint("exchange", "symbol", "timeframe"),
    sa.Index(None, "symbol", "exchange", "timeframe"),
    comment="One row per (exchange, symbol, timeframe) that was collected, also without candles. Written by "
    "candle-writer.",
)

candles = sa.Table(
    "candles",
    metadata,
    sa.Column("series_id", sa.Integer, sa.ForeignKey(series.c.id), primary_key=True, autoincrement=False),
    sa.Column("open_time", INSTANT, primary_key=True),
    sa.Column("open", DOUBLE_PRECISION, nullable=False),
    sa.Column("high", DOUBLE_PRECISION, nullable=False),
    sa.Column("low", DOUBLE_PRECISION, nullable=False),
    sa.Column("close", DOUBLE_PRECISION, nullable=False),
    sa.Column("volume", DOUBLE_PRECISION, nullable=False),
    sa.Column("fetched_at", INSTANT, nullable=False, comment="An older fetch never overwrites a newer one."),
    sa.Column("trades", sa.BigInteger, comment="The number of trades. Null: the exchange did not send it."),
    sa.Column(
        "quote_volume",
        DOUBLE_PRECISION,
        comment="The volume in the quote currency. Null: the exchange did not send it.",
    ),
    sa.Column("source", sa.Text, comment="trades: built from trades. Null: the exchange's own candle."),
    comment="Closed candles. Written by candle-writer. Read them through the view ohlcv.",
)

series_levels = sa.Table(
    "series_levels",
    metadata,
    sa.Column(
        "series_id",
        sa.Integer,
        sa.ForeignKey(series.c.id, ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("starts_at", INSTANT, nullable=False, comment="The start of the time with levels."),
    sa.Column("ends_at", INSTANT, nullable=False, comment="The end of the time with levels."),
    sa.Column(
        "lengths",
        ARRAY(sa.Integer),
        nullable=False,
        comment="The lengths of the levels in seconds, ascending. The last one is the unit of stale_levels.",
    ),
    comment="The series with levels for charts. Candle_levels is valid in this time, but not in the units of "
    "stale_levels. Written by candle-writer in the background.",
)

candle_levels = sa.Table(
    "candle_levels",
    metadata,
    sa.Column("series_id", sa.Integer, sa.ForeignKey(series_levels.c.series_id, ondelete="CASCADE"), primary_key=True),
    sa.Column("seconds", sa.Integer, primary_key=True, comment="The length of the row. Each length is a level."),
    sa.Column("starts_at", INSTANT, primary_key=True, comment="A multiple of the length since the epoch."),
    sa.Column("open", DOUBLE_PRECISION, nullable=False, comment="Of the first candle."),
    sa.Column("high", DOUBLE_PRECISION, nullable=False),
    sa.Column("low", DOUBLE_PRECISION, nullable=False),
    sa.Column("close", DOUBLE_PRECISION, nullable=False, comment="Of the last candle."),
    sa.Column("volume", sa.Numeric, nullable=False, comment="Exact, so that sums do not depend on their order."),
    sa.Column("candles", sa.Integer, nullable=False, comment="The number of candles. Time without candles has no row."),
    comment="The candles of long series, joined for charts: see series_levels. Written by candle-writer in the "
    "background.",
)

stale_levels = sa.Table(
    "stale_levels",
    metadata,
    sa.Column("series_id", sa.Integer, sa.ForeignKey(series_levels.c.series_id, ondelete="CASCADE"), primary_key=True),
    sa.Column("starts_at", INSTANT, primary_key=True, comment="A unit is as long as the longest level."),
    comment="The units whose candles changed after their levels were filled. Triggers of candles add them. Written by "
    "candle-writer, which fills the levels again.",
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
    sa.Column("updated_at", INSTANT, nullable=False, comment="When the verified spans last grew."),
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
    sa.Column("starts_at", INSTANT, primary_key=True),
    sa.Column("ends_at", INSTANT, nullable=False),
    sa.Column(
        "absence_class",
        sa.Text,
        nullable=False,
        comment="A value of AbsenceClass. Earlier releases wrote unproven (unknown) and lost (beyond_horizon).",
    ),
    sa.Column("evidence", sa.Text, nullable=False),
    sa.Column("first_seen", INSTANT, nullable=False, comment="The first check that reported this span, of any class."),
    sa.Column("last_checked", INSTANT, nullable=False, comment="The check that counts: the latest of this span."),
    sa.Column("run_id", UUID(as_uuid=True), nullable=False, comment="The run of the latest check."),
    sa.Column(
        "level", sa.SmallInteger, nullable=False, server_default="0", comment="The level of the evidence, 0 to 7."
    ),
    sa.Column("proof", JSONB, comment="The requests and answers: level, kind, asked, answered, at, run_ids."),
    sa.Column("recheck_at", INSTANT, comment="When the span is checked again. Null: at no certain time."),
    sa.CheckConstraint("starts_at < ends_at", name="span"),
    comment="Spans that could not be verified, with the reason. They overlap neither each other nor the verified spans "
    "of their series. Written by candle-writer in the transaction of the candles.",
)

rejected_candles = sa.Table(
    "rejected_candles",
    metadata,
    sa.Column("series_id", sa.Integer, sa.ForeignKey(series.c.id), primary_key=True, autoincrement=False),
    sa.Column("open_time", INSTANT, primary_key=True),
    sa.Column("row", sa.Text, primary_key=True, comment="The row as ccxt parsed it, as JSON."),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("first_seen", INSTANT, nullable=False),
    sa.Column("last_seen", INSTANT, nullable=False),
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
    sa.Column("anchor", INSTANT, nullable=False, comment="An edge of the periods with which the days were counted."),
    sa.Column("first_absence", INSTANT, comment="The start of the first absence. Null: there is none."),
    sa.Column("answered_until", INSTANT, comment="The end of the last absence of a final class. Null: none."),
    sa.Column("unverified", sa.BigInteger, nullable=False, comment="The sum over series_days, like the next columns."),
    sa.Column("whole", sa.BigInteger, nullable=False),
    sa.Column("answered", sa.BigInteger, nullable=False),
    sa.Column(
        "missing",
        sa.Interval,
        nullable=False,
        comment="The time in open holes and in absences of a final class, but not before a proved listing. If it "
        "differs from the ledger, the series must be counted again.",
    ),
    sa.Column(
        "listed_at",
        INSTANT,
        comment="The end of the first absence, if it is before a proved listing. The target begins here, and the days "
        "before have no counts. Null: no listing is proved.",
    ),
    comment="The sums over the days of each series. A series of an earlier release has no row until it is counted. "
    "Written by candle-writer in the transaction of the ledger.",
)
