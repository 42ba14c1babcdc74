"""Builds the coverage of a range: the range itself, its numbers, and one page of its spans."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.candles.series_lookup import find_series
from admin_api.coverage import ledger
from admin_api.coverage.loss import describe, limited, next_losses
from admin_api.coverage.rejected import link_to_rejected
from admin_api.coverage.repairs import open_chunks, repair_of
from admin_api.coverage.schemas import (
    UNKNOWN,
    ClassifiedSpan,
    Coverage,
    CoverageQuery,
    CoverageSpan,
    NextLoss,
    RejectedCount,
)
from admin_api.coverage.windows import (
    Extent,
    Window,
    after_hull,
    before_hull,
    closed_window,
    grid_of,
    rest_of,
    whole_periods,
    within_hull,
)
from admin_api.http.cursors import InvalidCursor, decode, encode, fingerprint
from admin_api.http.errors import FieldError, InvalidInput
from admin_api.writes.transactions import reading
from contracts.coverage import to_milliseconds
from store.periods import PeriodGrid

S = TypeVar("S", bound=CoverageSpan)


@dataclass(frozen=True)
class _Spans:
    """One page of the spans of a range."""

    verified: list[CoverageSpan] = field(default_factory=list)
    open_holes: list[ClassifiedSpan] = field(default_factory=list)
    absences: list[ClassifiedSpan] = field(default_factory=list)
    from_trades: list[CoverageSpan] = field(default_factory=list)
    next_start: datetime | None = None
    """The start of the first span of the next page."""


async def coverage_of(
    engine: AsyncEngine, query: CoverageQuery, now: datetime, rejected_path: str
) -> tuple[Coverage, str | None]:
    """The coverage with one page of spans, and the cursor of the next page, if there is one.

    Raises `InvalidInput`, and `NotFound` for a series that no config collects and about which nothing is known.
    """
    position = _checked_position(query)
    extent, window, counts, spans, rejected = Extent(), None, ledger.Counts(), _Spans(), 0
    next_loss: NextLoss | None = None
    # Read one snapshot, so that the numbers and the spans agree even if candle-writer changes the ledger in between.
    async with reading(engine.execution_options(isolation_level="REPEATABLE READ")) as connection:
        series_id = await find_series(connection, query)
        if series_id is not None:
            extent = await ledger.extent_of(connection, series_id)
            rejected = await ledger.count_rejected(connection, series_id, query.start, query.end)
            next_loss = await _next_loss(connection, query, to_milliseconds(now))
        grid = grid_of(query.exchange, query.timeframe, extent)
        window = closed_window(query.start, query.end, extent, grid, now)
        if series_id is not None and window is not None:
            counts = await ledger.count_periods(connection, series_id, window, grid)
            if (rest := rest_of(window, position)) is not None:
                spans = await _page_of_spans(connection, series_id, rest, extent, grid, query.limit)
    closed = whole_periods(window, grid) if window else 0
    coverage = Coverage(
        exchange=query.exchange,
        symbol=query.symbol,
        timeframe=query.timeframe,
        start=window and window[0],
        end=window and window[1],
        verified_from=extent.verified_from,
        verified_until=extent.verified_until,
        closed_periods=closed,
        verified_periods=counts.verified,
        whole_periods=counts.whole,
        answered_periods=counts.answered,
        answered=counts.answered / closed if closed else None,
        whole=counts.whole / closed if closed else None,
        before_first_verified=_span(window and before_hull(window, extent), grid),
        verified=spans.verified,
        periods_from_trades=counts.from_trades,
        from_trades=spans.from_trades,
        open_holes=spans.open_holes,
        absences=spans.absences,
        not_yet_verified=_span(window and after_hull(window, extent), grid),
        rejected_candles=RejectedCount(count=rejected, link=link_to_rejected(rejected_path, query)),
        next_loss=next_loss,
        truncated=spans.next_start is not None,
    )
    return coverage, None if spans.next_start is None else encode(_fingerprint(query), [spans.next_start])


async def _next_loss(connection: AsyncConnection, query: CoverageQuery, now: int) -> NextLoss | None:
    series = limited(query.exchange, query.symbol, query.timeframe)
    if series is None:
        return None
    [loss] = await next_losses(connection, [series], now)
    return None if loss is None else describe(loss, now)


def _checked_position(query: CoverageQuery) -> datetime | None:
    """The time at which the page begins; None for the first page. Raises `InvalidInput`."""
    if query.start is not None and query.end is not None and query.start >= query.end:
        raise InvalidInput.of([FieldError("#/start", "must be before end", where="query")])
    if query.cursor is None:
        return None
    try:
        position: datetime = decode(query.cursor, _fingerprint(query), (datetime,))[0]
    except InvalidCursor as error:
        raise InvalidInput.of([FieldError("#/cursor", str(error), where="query")]) from error
    return position


def _fingerprint(query: CoverageQuery) -> str:
    return fingerprint(of_list="coverage", query=query.filters())


async def _page_of_spans(
    connection: AsyncConnection, series_id: int, window: Window, extent: Extent, grid: PeriodGrid, limit: int
) -> _Spans:
    """The first `limit` spans of the window. They do not overlap, so each has its own start. Spans from trades are
    exceptions: they are parts of verified spans.
    """
    verified: list[CoverageSpan] = []
    from_trades: list[CoverageSpan] = []
    holes: list[ClassifiedSpan] = []
    absences: list[ClassifiedSpan] = []
    of_series = (connection, series_id)
    if (hull := within_hull(window, extent)) is not None:
        verified = _verified(await ledger.verified_spans(*of_series, hull, limit + 1), grid)
        from_trades = _verified(await ledger.spans_from_trades(*of_series, hull, limit + 1), grid)
        holes = _classified(await ledger.absent_spans(*of_series, hull, limit + 1), grid)
        holes += _unexplained(await ledger.unexplained_spans(*of_series, hull, limit + 1), grid)
    for outside in (before_hull(window, extent), after_hull(window, extent)):
        if outside is not None:
            absences += _classified(await ledger.absent_spans(*of_series, outside, limit + 1), grid)
    chunks = await open_chunks(*of_series, *window) if holes or absences else []
    for span in (*holes, *absences):
        span.repair = repair_of(span.start, span.end, chunks)
    starts = sorted({span.start for spans in (verified, holes, absences, from_trades) for span in spans})
    next_start = starts[limit] if len(starts) > limit else None
    return _Spans(
        _ordered(verified, next_start),
        _ordered(holes, next_start),
        _ordered(absences, next_start),
        _ordered(from_trades, next_start),
        next_start,
    )


def _ordered(spans: list[S], before: datetime | None) -> list[S]:
    kept = [span for span in spans if before is None or span.start < before]
    return sorted(kept, key=lambda span: span.start)


def _verified(rows: Sequence[sa.Row[Any]], grid: PeriodGrid) -> list[CoverageSpan]:
    return [CoverageSpan(start=row.start, end=row.end, periods=_periods(row, grid)) for row in rows]


def _classified(rows: Sequence[sa.Row[Any]], grid: PeriodGrid) -> list[ClassifiedSpan]:
    return [
        ClassifiedSpan(**row._mapping, periods=_periods(row, grid))  # noqa: SLF001 -- SQLAlchemy's public name
        for row in rows
    ]


def _unexplained(rows: Sequence[sa.Row[Any]], grid: PeriodGrid) -> list[ClassifiedSpan]:
    return [
        ClassifiedSpan(start=row.start, end=row.end, periods=_periods(row, grid), absence_class=UNKNOWN) for row in rows
    ]


def _periods(row: sa.Row[Any], grid: PeriodGrid) -> int:
    return whole_periods((row.start, row.end), grid)


def _span(window: Window | None, grid: PeriodGrid) -> CoverageSpan | None:
    if window is None:
        return None
    return CoverageSpan(start=window[0], end=window[1], periods=whole_periods(window, grid))
