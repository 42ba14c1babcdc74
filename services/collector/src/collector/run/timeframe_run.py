"""Collecting one timeframe of a run: page after page, until now is reached or the exchange will not go on."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from collector.candles.paging import BrokenContinuity, Step, beyond_horizon, check_continuity, first_step, next_step
from collector.candles.validation import InvalidRow, Page, read_page
from collector.exchange.clients import Answer, ExchangeClient
from collector.exchange.failures import ExchangeFailure
from collector.run.retrying import Retrier
from contracts.candles import Candle
from contracts.runs import TimeframeResult
from contracts.vocabulary import ErrorClass


@dataclass
class TimeframeRun:
    """One timeframe's progress within a run. What it holds counts, however the collecting ends."""

    symbol: str
    timeframe: str
    pages: int = 0
    batches: list[tuple[datetime, tuple[Candle, ...]]] = field(default_factory=list)
    """New candles page by page, with the time of the answer. Ascending, without duplicates."""
    read_until: int | None = None
    """The exchange's time by which everything closed was read; None unless the window was read to its end."""
    failure: ExchangeFailure | None = None
    note: str | None = None
    """What a person should know though nothing failed."""

    @property
    def count(self) -> int:
        return sum(len(candles) for _, candles in self.batches)

    def keep(self, answer: Answer, page: Page) -> None:
        """Take a page's candles that are newer than those in hand: pages overlap."""
        self.pages += 1
        known = self.batches[-1][1][-1].open_ms if self.batches else -1
        if fresh := tuple(candle for candle in page.closed if candle.open_ms > known):
            self.batches.append((answer.fetched_at, fresh))

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
    client: ExchangeClient, series: TimeframeRun, window_start: datetime | None, retrier: Retrier, max_pages: int
) -> None:
    """Read the series from the window's start to now, one full page back where there is none.

    Raises `ExchangeFailure` when the exchange does not go along; the series keeps what was read until then.
    """
    symbol, timeframe = series.symbol, series.timeframe
    await retrier.retry_until_deadline(lambda: client.require(symbol, timeframe))
    begin = None if window_start is None else int(window_start.timestamp() * 1000)
    step: Step | None = first_step(client.traits, timeframe, begin, client.now_ms(), client.page_limit(symbol))
    known: int | None = None
    while step is not None:
        if series.pages >= max_pages:
            raise ExchangeFailure(
                ErrorClass.EXCHANGE_ERROR, f"not at the end after {max_pages} pages, the limit", retryable=False
            )
        answer, page = await retrier.retry_until_deadline(partial(_read, client, symbol, step, known))
        series.keep(answer, page)
        if series.pages == 1:
            series.note = _horizon_note(client, step, page, answer)
        known = page.opens[-1] if page.opens else known
        step = next_step(step, page.opens, answer.asked_ms)
        read_until = answer.asked_ms
    series.read_until = read_until


async def _read(client: ExchangeClient, symbol: str, step: Step, known: int | None) -> tuple[Answer, Page]:
    answer = await client.fetch(symbol, step.timeframe, step.since, step.limit)
    try:
        page = read_page(client.traits, step.timeframe, answer.rows, since=step.since, now=answer.asked_ms)
        check_continuity(step, page.opens, known)
    except (InvalidRow, BrokenContinuity) as error:
        message = f"{client.exchange} sent {step.timeframe} candles that cannot be right: {error}"
        raise ExchangeFailure(ErrorClass.INVALID_DATA, message, retryable=True) from error
    return answer, page


def _horizon_note(client: ExchangeClient, step: Step, page: Page, answer: Answer) -> str | None:
    oldest = beyond_horizon(client.traits, step, page.opens, answer.asked_ms)
    if oldest is None:
        return None
    wanted, had = _instant(step.since), _instant(oldest)
    return f"{client.exchange} no longer has candles from {wanted:%Y-%m-%d %H:%M} to {had:%Y-%m-%d %H:%M} UTC"


def _instant(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
