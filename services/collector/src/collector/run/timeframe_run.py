"""Collects one timeframe of a run: page after page, until the present is reached or the exchange fails."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from collector.candles.paging import (
    BrokenContinuity,
    PageRequest,
    check_continuity,
    first_request,
    next_request,
    oldest_available,
)
from collector.candles.validation import InvalidRow, Page, read_page
from collector.exchange.clients import CandleResponse, ExchangeClient
from collector.exchange.failures import ExchangeFailure
from collector.run.retrying import Retrier
from contracts.candles import Candle
from contracts.runs import TimeframeResult
from contracts.vocabulary import ErrorClass


@dataclass
class TimeframeRun:
    """Progress of one timeframe within a run. Its candles are published even if collecting fails later."""

    symbol: str
    timeframe: str
    pages: int = 0
    batches: list[tuple[datetime, tuple[Candle, ...]]] = field(default_factory=list)
    """New candles per page, with the time of the response. Ascending, without duplicates."""
    read_until: int | None = None
    """All candles that were closed at this time of the exchange were read (ms). None: the window's end was not
    reached."""
    failure: ExchangeFailure | None = None
    note: str | None = None
    """Information for the reader of the run log that is not a failure."""

    @property
    def count(self) -> int:
        return sum(len(candles) for _, candles in self.batches)

    def add(self, response: CandleResponse, page: Page) -> None:
        """Add the candles of a page that are newer than the last one: pages overlap."""
        self.pages += 1
        last_open = self.batches[-1][1][-1].open_ms if self.batches else -1
        if new := tuple(candle for candle in page.closed if candle.open_ms > last_open):
            self.batches.append((response.fetched_at, new))

    def result(self) -> TimeframeResult:
        first = self.batches[0][1][0].open_ms if self.batches else None
        last = self.batches[-1][1][-1].open_ms if self.batches else None
        return TimeframeResult(
            timeframe=self.timeframe,
            candles=self.count,
            pages=self.pages,
            first_open=_instant(first),
            last_open=_instant(last),
            error_class=self.failure.error_class if self.failure else None,
            error_message=self.failure.message if self.failure else None,
            note=self.note,
        )


async def collect_timeframe(
    client: ExchangeClient, timeframe_run: TimeframeRun, window_start: datetime | None, retrier: Retrier, max_pages: int
) -> None:
    """Read the candles from the window's start to now. Without a start, read one full page back.

    Raises `ExchangeFailure` if the exchange fails; `timeframe_run` then contains all that was read before.
    """
    symbol, timeframe = timeframe_run.symbol, timeframe_run.timeframe
    await retrier.retry_until_deadline(lambda: client.require(symbol, timeframe))
    start_ms = None if window_start is None else int(window_start.timestamp() * 1000)
    request: PageRequest | None = first_request(
        client.traits, timeframe, start_ms, client.now_ms(), client.page_limit(symbol, timeframe)
    )
    last_open: int | None = None
    while request is not None:
        if timeframe_run.pages >= max_pages:
            raise ExchangeFailure(
                ErrorClass.EXCHANGE_ERROR,
                f"the end of the window was not reached within {max_pages} pages (MAX_PAGES_PER_TIMEFRAME)",
                retryable=False,
            )
        response, page = await retrier.retry_until_deadline(partial(_read, client, symbol, request, last_open))
        timeframe_run.add(response, page)
        if timeframe_run.pages == 1:
            timeframe_run.note = _history_note(client, request, page, response)
        last_open = page.opens[-1] if page.opens else last_open
        request = next_request(request, page.opens, response.as_of_ms)
        read_until = response.as_of_ms
    timeframe_run.read_until = read_until


async def _read(
    client: ExchangeClient, symbol: str, request: PageRequest, last_open: int | None
) -> tuple[CandleResponse, Page]:
    response = await client.fetch(symbol, request.timeframe, request.since, request.limit)
    try:
        page = read_page(client.traits, request.timeframe, response.rows, since=request.since, now=response.as_of_ms)
        check_continuity(request, page.opens, last_open)
    except (InvalidRow, BrokenContinuity) as error:
        message = f"{client.exchange} sent invalid {request.timeframe} candles: {error}"
        raise ExchangeFailure(ErrorClass.INVALID_DATA, message, retryable=True) from error
    return response, page


def _history_note(client: ExchangeClient, request: PageRequest, page: Page, response: CandleResponse) -> str | None:
    oldest = oldest_available(client.traits, request, page.opens, response.as_of_ms)
    if oldest is None:
        return None
    start, end = _instant(request.since), _instant(oldest)
    return f"{client.exchange} no longer has candles from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"


def _instant(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
