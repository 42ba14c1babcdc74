"""A run that requests evidence: why a span of one series has no candles."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from collector.candles.pages import SeriesCalendar
from collector.evidence.gather import MAX_PERIODS, EvidenceRequest, gather_evidence
from collector.evidence.other_symbols import other_symbols
from collector.evidence.prove_listing import ListingRequest, prove_listing
from collector.exchange.client import ExchangeClient
from collector.exchange.silence_habits import Habit
from collector.run.retrying import Retrier
from collector.run.status_watch import refresh_status
from collector.run.timeframe_run import TimeframeRun
from contracts.coverage import Absence, to_instant, to_milliseconds
from contracts.exchange_catalogue import market_kind
from contracts.spans import Interval, Intervals

T = TypeVar("T")


@dataclass
class ClientSource:
    """Requests evidence through the client of the exchange, with retries. Counts the requests that succeeded."""

    client: ExchangeClient
    retrier: Retrier
    requests: int = 0

    async def candles(self, symbol: str, timeframe: str, since: int, limit: int) -> Sequence[Sequence[Any]]:
        """Requests further pages if necessary, because an exchange may send fewer rows than requested."""
        until = since + limit * SeriesCalendar.of(self.client.traits, timeframe).nominal_ms
        page = self.client.page_limit(symbol, timeframe)
        end = until if self.client.honours_until(symbol) else None
        rows: list[Sequence[Any]] = []
        while limit > 0:
            size = min(limit, page)
            response = await self._count(partial(self.client.fetch, symbol, timeframe, since, size, end))
            rows += response.rows
            calendar = SeriesCalendar.of(self.client.traits, timeframe)
            since, limit = calendar.shift(since, size), limit - size
        return rows

    async def trades(self, symbol: str, since: int, until: int, limit: int) -> Sequence[dict[str, Any]]:
        return await self._count(lambda: self.client.fetch_trades(symbol, since, until, limit))

    async def closed(self, symbol: str) -> Intervals:
        self.requests += await refresh_status(self.client)
        return self.client.closed(symbol)

    def habit(self, symbol: str, timeframe: str) -> Habit:
        return self.client.habits.of(market_kind(symbol), timeframe)

    async def _count(self, request: Callable[[], Awaitable[T]]) -> T:
        found = await self.retrier.retry_until_deadline(request)
        self.requests += 1
        return found


async def collect_evidence(
    client: ExchangeClient,
    timeframe_run: TimeframeRun,
    retrier: Retrier,
    run_id: UUID,
    verified_from: datetime | None = None,
) -> None:
    """Find the reason for every part of the span that has no candle now. If the span ends before the first verified
    instant, it may be older than the listing of the market. So the run checks the listing first.

    Raises `ExchangeFailure` if the exchange fails. The absences of earlier pieces then stay in `timeframe_run`.
    """
    symbol, timeframe = timeframe_run.symbol, timeframe_run.timeframe
    await retrier.retry_until_deadline(lambda: client.require(symbol, timeframe))
    listed = await retrier.retry_until_deadline(lambda: client.symbols(symbol))
    calendar = SeriesCalendar.of(client.traits, timeframe)
    source = ClientSource(client, retrier)
    [span] = timeframe_run.progress.pending
    if verified_from is not None and span.end <= verified_from:
        others = other_symbols(symbol, listed)
        try:
            absence = await _before_listing(source, timeframe_run, others, run_id, to_milliseconds(verified_from))
        finally:
            timeframe_run.evidence_requests = source.requests
        if absence is not None:
            timeframe_run.found.append(absence)
            timeframe_run.checked_at = to_instant(client.now_ms())
            return
    for hole in pieces(span.milliseconds(), calendar, client.now_ms()):
        request = EvidenceRequest(
            symbol=symbol,
            timeframe=timeframe,
            hole=hole,
            other_symbols=other_symbols(symbol, listed),
            run_id=run_id,
        )
        try:
            found = await gather_evidence(source, client.traits, request, lambda: to_instant(client.now_ms()))
        finally:
            timeframe_run.evidence_requests = source.requests
        timeframe_run.found += found
        timeframe_run.checked_at = to_instant(client.now_ms())


async def _before_listing(
    source: ClientSource, timeframe_run: TimeframeRun, others: Sequence[str], run_id: UUID, first: int
) -> Absence | None:
    """The absence of all time before the listing. None if it is not proved; the run log then has the reason."""
    client, symbol, timeframe = source.client, timeframe_run.symbol, timeframe_run.timeframe
    request = ListingRequest(
        symbol=symbol,
        timeframe=timeframe,
        first=first,
        timeframes=client.timeframes,
        page=client.page_limit(symbol, timeframe),
        other_symbols=others,
        created=client.created(symbol),
        run_id=run_id,
    )
    found = await prove_listing(source, client.traits, request, lambda: to_instant(client.now_ms()))
    if isinstance(found, Absence):
        return found
    timeframe_run.notes.append(
        f"not proved that the market was listed at {to_instant(first):%Y-%m-%d %H:%M} UTC: {found}"
    )
    return None


def pieces(span: Interval, calendar: SeriesCalendar, now: int) -> Iterator[Interval]:
    """The closed periods of the span in pieces of at most `MAX_PERIODS` periods. The oldest come first, because the
    oldest trades are the first that an exchange no longer offers.
    """
    start, end = calendar.floor_open(span[0]), calendar.floor_open(min(span[1], now))
    while start < end:
        following = min(end, calendar.shift(start, MAX_PERIODS))
        yield start, following
        start = following
