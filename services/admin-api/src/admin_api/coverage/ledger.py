"""The queries on the ledger of one series. candle-writer maintains it.

The time of each query is proportional to the number of spans of the series, never to the length of the range.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.coverage.windows import Extent, Window
from contracts.bounds import END_OF_INSTANTS, FIRST_INSTANT
from contracts.coverage import ANSWERED_CLASSES, WHOLE_CLASSES, names_of
from store.periods import PeriodGrid
from store.tables import absences, rejected_candles


@dataclass(frozen=True)
class Counts:
    """The numbers of periods in a range."""

    verified: int = 0
    whole: int = 0
    answered: int = 0
    from_trades: int = 0


_EXTENT: Final = sa.text(
    """
SELECT CASE WHEN first_open < :first THEN :first ELSE first_open END AS first_open,
       CASE WHEN last_open < :end THEN last_open ELSE (
         SELECT max(open_time) FROM candles WHERE series_id = series.id AND open_time < :end
       ) END AS last_open,
       lower(known) AS verified_from, upper(known) AS verified_until,
       (SELECT CASE WHEN min(starts_at) < :first THEN :first ELSE min(starts_at) END
        FROM absences WHERE series_id = series.id) AS first_absence
FROM series LEFT JOIN coverage ON series_id = series.id,
  LATERAL (SELECT verified * tstzmultirange(tstzrange(:first, :end)) AS known) AS clipped
WHERE series.id = :series_id
"""
)
# An earlier release may have stored times that Python cannot represent. They must not prevent the reading of the rest.

_COUNTS: Final = """
WITH of_series AS (
  SELECT coalesce((SELECT verified FROM coverage WHERE series_id = :series_id), '{{}}')
           * tstzmultirange(tstzrange(:start, :end)) AS verified,
         coalesce((SELECT from_trades FROM coverage WHERE series_id = :series_id), '{{}}')
           * tstzmultirange(tstzrange(:start, :end)) AS from_trades,
         final.*
  FROM (
    SELECT coalesce(range_agg(tstzrange(starts_at, ends_at)), '{{}}')
             * tstzmultirange(tstzrange(:start, :end)) AS answered,
           coalesce(range_agg(tstzrange(starts_at, ends_at)) FILTER (WHERE absence_class = ANY(:whole_classes)), '{{}}')
             * tstzmultirange(tstzrange(:start, :end)) AS tradeless
    FROM absences
    WHERE series_id = :series_id AND absence_class = ANY(:answered_classes) AND starts_at < :end AND ends_at > :start
  ) AS final
)
SELECT (SELECT sum({periods}) FROM unnest(verified) AS span) AS verified,
       CASE WHEN NOT isempty(tradeless) THEN (SELECT sum({periods}) FROM unnest(verified + tradeless) AS span)
       END AS whole,
       CASE WHEN NOT isempty(answered) THEN (SELECT sum({periods}) FROM unnest(verified + answered) AS span)
       END AS answered,
       (SELECT sum({periods}) FROM unnest(from_trades) AS span) AS from_trades
FROM of_series
"""

_VERIFIED: Final = sa.text(
    """
SELECT lower(span) AS start, upper(span) AS end FROM (
  SELECT unnest(verified * tstzmultirange(tstzrange(:start, :end))) AS span
  FROM coverage WHERE series_id = :series_id LIMIT :limit
) AS spans
"""
)

_FROM_TRADES: Final = sa.text(
    """
SELECT lower(span) AS start, upper(span) AS end FROM (
  SELECT unnest(from_trades * tstzmultirange(tstzrange(:start, :end))) AS span
  FROM coverage WHERE series_id = :series_id LIMIT :limit
) AS spans
"""
)

_UNEXPLAINED: Final = sa.text(
    """
SELECT lower(span) AS start, upper(span) AS end FROM (
  SELECT unnest(tstzmultirange(tstzrange(:start, :end)) - verified - coalesce((
    SELECT range_agg(tstzrange(starts_at, ends_at)) FROM absences
    WHERE series_id = :series_id AND starts_at < :end AND ends_at > :start
  ), '{}')) AS span
  FROM coverage WHERE series_id = :series_id LIMIT :limit
) AS spans
"""
)


async def extent_of(connection: AsyncConnection, series_id: int) -> Extent:
    """The known times of a series that has a row in `series`."""
    values = {"series_id": series_id, "first": FIRST_INSTANT, "end": END_OF_INSTANTS}
    return Extent(*(await connection.execute(_EXTENT, values)).one())


async def count_periods(connection: AsyncConnection, series_id: int, window: Window, grid: PeriodGrid) -> Counts:
    """The numbers of verified, whole and answered periods in the window. The edges of the window are edges of
    periods.
    """
    statement = sa.text(_COUNTS.format(periods=grid.sql_count("lower(span)", "upper(span)")))
    classes = {"whole_classes": names_of(WHOLE_CLASSES), "answered_classes": names_of(ANSWERED_CLASSES)}
    values = classes | grid.sql_parameters()
    row = (await connection.execute(statement, _parameters(series_id, window) | values)).one()
    verified = int(row.verified or 0)
    return Counts(
        verified,
        verified if row.whole is None else int(row.whole),
        verified if row.answered is None else int(row.answered),
        int(row.from_trades or 0),
    )


async def verified_spans(
    connection: AsyncConnection, series_id: int, window: Window, limit: int
) -> Sequence[sa.Row[Any]]:
    """The first `limit` verified spans in the window, clipped to it: rows with `start` and `end`."""
    return (await connection.execute(_VERIFIED, _parameters(series_id, window) | {"limit": limit})).all()


async def spans_from_trades(
    connection: AsyncConnection, series_id: int, window: Window, limit: int
) -> Sequence[sa.Row[Any]]:
    """The first `limit` spans in the window that are verified only by candles from trades: rows with `start` and
    `end`.
    """
    return (await connection.execute(_FROM_TRADES, _parameters(series_id, window) | {"limit": limit})).all()


async def unexplained_spans(
    connection: AsyncConnection, series_id: int, window: Window, limit: int
) -> Sequence[sa.Row[Any]]:
    """The first `limit` spans in the window that are neither verified nor covered by an absence: rows with `start` and
    `end`.
    """
    return (await connection.execute(_UNEXPLAINED, _parameters(series_id, window) | {"limit": limit})).all()


async def absent_spans(
    connection: AsyncConnection, series_id: int, window: Window, limit: int
) -> Sequence[sa.Row[Any]]:
    """The first `limit` absences in the window, clipped to it: rows with the fields of `ClassifiedSpan`."""
    start, end = window
    columns = absences.c
    query: sa.Select[Any] = (
        sa.select(
            sa.func.greatest(columns.starts_at, start).label("start"),
            sa.func.least(columns.ends_at, end).label("end"),
            columns.absence_class,
            columns.evidence,
            columns.first_seen,
            columns.last_checked,
            columns.run_id,
            columns.level,
            columns.proof,
            columns.recheck_at,
        )
        .where(columns.series_id == series_id, columns.starts_at < end, columns.ends_at > start)
        .order_by(columns.starts_at)
        .limit(limit)
    )
    return list((await connection.execute(query)).all())


async def count_rejected(
    connection: AsyncConnection, series_id: int, start: datetime | None, end: datetime | None
) -> int:
    """The number of rejected rows that open at `start` or later and before `end`. None means that there is no limit."""
    matches = rejected_between(series_id, start, end)
    return await connection.scalar(sa.select(sa.func.count()).select_from(rejected_candles).where(*matches)) or 0


def rejected_between(series_id: int, start: datetime | None, end: datetime | None) -> list[sa.ColumnElement[bool]]:
    """SQL conditions on the table of rejected rows."""
    matches = [rejected_candles.c.series_id == series_id]
    if start is not None:
        matches.append(rejected_candles.c.open_time >= start)
    if end is not None:
        matches.append(rejected_candles.c.open_time < end)
    return matches


def _parameters(series_id: int, window: Window) -> dict[str, Any]:
    return {"series_id": series_id, "start": window[0], "end": window[1]}
