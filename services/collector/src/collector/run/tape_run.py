"""A run that builds candles from the exchange's trades, for a span for which the exchange no longer offers candles.

In the same run, candles from trades are compared with the exchange's own candles for a time for which the exchange
offers both. If they are not equal, all results of the run are dropped.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Final

from collector.candles.page_requests import PageRequest, Proof, ReadingLimits
from collector.candles.pages import Page, SeriesCalendar
from collector.exchange.client import ExchangeClient
from collector.exchange.client_options import CandleResponse
from collector.exchange.failures import ExchangeFailure
from collector.run.retrying import Retrier
from collector.run.timeframe_run import TimeframeRun, read_candles
from collector.tape.building import Built, build, read_trade, reason_unproved
from collector.tape.overlap import activity_of, compare, in_words, overlap_of
from collector.tape.reading import PAGE_TRADES, TapeReader
from contracts.coverage import to_instant
from contracts.exchange_catalogue import market_kind
from contracts.spans import Interval, subtract
from contracts.vocabulary import CandleSource, ErrorClass

_OVERLAP_PAGES: Final = 20
"""The largest number of requests for the trades of the overlap."""

_READING_SHARE: Final = 0.7
"""After this share of the run's time, no further page is requested, so that the candles so far can be published."""


async def collect_from_trades(
    client: ExchangeClient, timeframe_run: TimeframeRun, retrier: Retrier, limits: ReadingLimits
) -> None:
    """Build the candles of the pending span as far as the run's time allows.

    Raises `ExchangeFailure`: of the class UNPROVEN_TRADES if the candles are not proved, and of INVALID_DATA if ids of
    trades are missing. In the second case, the proved candles stay in `timeframe_run`.
    """
    await retrier.retry_until_deadline(lambda: client.require(timeframe_run.symbol, timeframe_run.timeframe))
    if market_kind(timeframe_run.symbol) not in client.traits.tape_weight:
        message = f"candles of {client.exchange} cannot be built from trades: their ids are not known to be sequential"
        raise ExchangeFailure(ErrorClass.NOT_SUPPORTED, message, retryable=False)
    await _TapeRun(client, timeframe_run, retrier, limits).run()


@dataclass
class _TapeRun:
    client: ExchangeClient
    timeframe_run: TimeframeRun
    retrier: Retrier
    limits: ReadingLimits

    def __post_init__(self) -> None:
        self.calendar = SeriesCalendar.of(self.client.traits, self.timeframe_run.timeframe)
        loop = asyncio.get_running_loop()
        self.stop_at = loop.time() + _READING_SHARE * max(0.0, self.retrier.deadline - loop.time())

    async def run(self) -> None:
        now = self.client.now_ms()
        self.timeframe_run.source = CandleSource.TRADES
        self.timeframe_run.checked_at = to_instant(now)
        response = await self._prove(now)
        [pending] = self.timeframe_run.progress.pending
        start, end = pending.milliseconds()
        span = start, min(end, self.calendar.floor_open(now))
        if span[0] >= span[1]:
            return
        reader = await self._read(span, self.limits.max_pages)
        built = build(span, reader.trades, self.calendar)
        self._add(response, built, span)
        if not built.unproved:
            return
        if reader.stopped is None:
            raise ExchangeFailure(ErrorClass.INVALID_DATA, reason_unproved(built, reader.trades), retryable=False)
        self.timeframe_run.notes.append(f"the trades do not reach across the span: {reader.stopped}")

    async def _prove(self, now: int) -> CandleResponse:
        """Compare the overlap. Returns the answer with the exchange's own candles."""
        response, own = await self._own_candles(now)
        overlap = overlap_of(own, self.calendar, now - self.limits.settle_ms)
        if overlap is None:
            raise self._unproven("the exchange sends no settled candle of its own to compare with")
        reader = await self._read(overlap, _OVERLAP_PAGES)
        comparison = compare(build(overlap, reader.trades, self.calendar), own, overlap, self.calendar)
        words = in_words(comparison, overlap)
        if comparison.difference is None and not comparison.equal:
            if asyncio.get_running_loop().time() > self.stop_at:
                raise ExchangeFailure(ErrorClass.DEADLINE_EXCEEDED, "the run had no time to compare", retryable=False)
            more = f" ({reader.stopped})" if reader.stopped else ""
            words = f"no trades could be compared with the exchange's own candles{more}"
        if not comparison.proves:
            raise self._unproven(words)
        self.timeframe_run.notes.append(words)
        return response

    async def _own_candles(self, now: int) -> tuple[CandleResponse, Page]:
        symbol, timeframe = self.timeframe_run.symbol, self.timeframe_run.timeframe
        page = self.client.page_limit(symbol, timeframe)
        since = self.calendar.shift(self.calendar.floor_open(now), 1 - page)
        request = PageRequest(timeframe, max(0, since), page)
        self.timeframe_run.trade_pages += 1
        return await self.retrier.retry_until_deadline(
            lambda: read_candles(self.client, symbol, request, self.calendar)
        )

    async def _read(self, span: Interval, max_pages: int) -> TapeReader:
        reader = TapeReader(span, self.client.now_ms(), max_pages)
        loop = asyncio.get_running_loop()
        while (since := reader.next_since()) is not None:
            if loop.time() > self.stop_at:
                reader.stopped = "most of the time of the run is over"
                break
            request = partial(self.client.fetch_trades, self.timeframe_run.symbol, since, span[1], PAGE_TRADES)
            rows = await self.retrier.retry_until_deadline(request)
            self.timeframe_run.trade_pages += 1
            reader.receive([trade for row in rows if (trade := read_trade(row)) is not None])
        return reader

    def _add(self, response: CandleResponse, built: Built, span: Interval) -> None:
        self.timeframe_run.built = subtract([span], built.unproved)
        candles = tuple(each.candle for each in built.candles)
        page = Page(tuple(each.open_ms for each in candles), candles, activity=activity_of(built))
        self.timeframe_run.add(response, page, Proof(self.timeframe_run.built, ()))

    def _unproven(self, words: str) -> ExchangeFailure:
        return ExchangeFailure(ErrorClass.UNPROVEN_TRADES, f"{self.client.exchange}: {words}", retryable=False)
