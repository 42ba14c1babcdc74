"""Decides which spans of a series become chunks, and which waiting chunks are no longer needed. Pure.

Times are in milliseconds since the epoch.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from backfiller.chunks import Chunk, ChunkState
from contracts import spans
from contracts.exchange_catalogue import CandleRequest, load_catalogue, market_kind
from contracts.pages import UNKNOWN_PAGE, horizon_of, page_without_joins, pages_of, shifted
from contracts.ranges import Purpose
from contracts.spans import Interval, Intervals
from contracts.timeframes import shortest_length
from contracts.trade_pages import trade_runs

_MAX_DOUBLINGS: Final = 12


class Series(NamedTuple):
    """A series with the facts of the exchange catalogue about reading it."""

    id: int
    exchange: str
    symbol: str
    timeframe: str
    page: int
    """The number of candles that one request covers, at least 1."""
    newest_readable: int | None
    """The number of newest candles that can be read. None: no limit is known."""


class Demand(NamedTuple):
    """The range of a series that a config or a backfill demands."""

    config_id: int
    backfill_id: int | None
    """The backfill. None if a config demands the range."""
    active: bool
    """False if the backfill is paused."""
    reread: bool
    target: Interval
    missing: Intervals
    """The newest spans of the target that are neither answered nor part of an open chunk."""
    verified_from: int | None
    """The first verified instant of the series. None if nothing is verified."""
    from_trades: bool = False
    """Whether candles that the exchange no longer has are built from its trades."""
    trades_per_candle: float | None = None
    """The mean number of trades per candle. None if it is unknown or not needed."""


@dataclass(frozen=True, slots=True)
class NewChunk:
    """A chunk to create."""

    config_id: int
    backfill_id: int | None
    purpose: Purpose
    span: Interval
    loss_at: int | None
    """The time at which the exchange stops offering the oldest candle of the chunk. None if this is unknown or has
    happened already.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPolicy:
    """The numbers behind the decisions."""

    pages: int
    """The largest number of requests for one chunk."""
    fresh_chunks: int
    """The largest number of unfinished chunks per series that have had no retry."""
    open_chunks: int
    """If a series has this number of open chunks or more, new ones are created one at a time."""


def describe(series_id: int, exchange: str, symbol: str, timeframe: str) -> Series:
    """Adds the numbers of the exchange catalogue to a series."""
    entry = load_catalogue().exchanges.get(exchange)
    kind = market_kind(symbol)
    request = None if entry is None else entry.request(kind, timeframe)
    page = request.page if isinstance(request, CandleRequest) else UNKNOWN_PAGE
    readable = None if entry is None else entry.newest_readable(kind, timeframe)
    return Series(series_id, exchange, symbol, timeframe, page_without_joins(page, readable), readable)


def plan(
    series: Series, demands: Sequence[Demand], open_chunks: Sequence[Chunk], now: int, policy: PlanPolicy
) -> list[NewChunk]:
    """The chunks to create now, the most urgent first. The rest of the missing time is planned after some of these
    chunks have ended.

    A series with a failed chunk gets no other chunks, because the exchange would refuse them for the same reason. If
    candles from trades were refused, the series gets no other chunks from trades.
    """
    paused = {each.backfill_id for each in demands if not each.active}
    # Chunks of paused backfills are not requested, so they do not count in the limits.
    working = [each for each in open_chunks if each.in_flight or each.backfill_id not in paused]
    failed = {each.purpose is Purpose.TRADES for each in working if each.state is ChunkState.FAILED}
    if False in failed:
        return []
    fresh = sum(1 for each in working if each.retries == 0)
    # A chunk can stay open forever if no answer proves anything. It must not delay the rest of the history.
    places = min(policy.fresh_chunks - fresh, max(policy.open_chunks - len(working), 1 - fresh))
    created: list[NewChunk] = []
    for demand in demands:
        if not demand.active or places <= len(created) or (demand.from_trades and failed):
            continue
        owned = spans.union([*(each.span for each in open_chunks), *(each.span for each in created)])
        free = demand._replace(missing=spans.subtract(demand.missing, owned))
        created += islice(_chunks_of(series, free, open_chunks, owned, now, policy), places - len(created))
    return created


def unwanted(demands: Sequence[Demand], open_chunks: Iterable[Chunk]) -> list[tuple[Chunk, str]]:
    """The waiting chunks that no config or backfill demands any more, each with the reason in words."""
    return [
        (chunk, reason)
        for chunk in open_chunks
        if not chunk.in_flight and (reason := _reason_to_cancel(demands, chunk)) is not None
    ]


def _reason_to_cancel(demands: Sequence[Demand], chunk: Chunk) -> str | None:
    of_config = [each for each in demands if each.backfill_id is None and spans.intersect([each.target], [chunk.span])]
    if chunk.backfill_id is None:
        return None if of_config else "No enabled config has a start date before the end of this span."
    demand = next((each for each in demands if each.backfill_id == chunk.backfill_id), None)
    if demand is None:
        return "The backfill was cancelled."
    if not demand.active and of_config:
        return "The backfill is paused, and the start date of the config asks for the same span."
    return None


def _chunks_of(
    series: Series, demand: Demand, open_chunks: Sequence[Chunk], owned: Intervals, now: int, policy: PlanPolicy
) -> Iterator[NewChunk]:
    """The chunks for the missing time of a demand. `owned` are the spans of other chunks."""
    horizon = horizon_of(series.timeframe, series.newest_readable, now)
    beyond = [(0, horizon)] if horizon is not None else []
    if demand.from_trades:
        gone = spans.intersect(demand.missing, beyond) if beyond else demand.missing
        readable = _grouped(series, spans.subtract(demand.missing, gone), owned, policy.pages)
        yield from _of_spans(series, demand, readable)
        for span in trade_runs(series.timeframe, gone, demand.trades_per_candle):
            yield NewChunk(demand.config_id, demand.backfill_id, Purpose.TRADES, span, None)
        return
    readable = _grouped(series, spans.subtract(demand.missing, beyond), owned, policy.pages)
    if horizon is None:
        before = () if demand.verified_from is None else ((0, demand.verified_from),)
        known = _grouped(series, spans.subtract(demand.missing, before), owned, policy.pages)
        yield from _of_spans(series, demand, known)
        pages = policy.pages << _doublings(open_chunks, demand.verified_from)
        yield from _of_spans(series, demand, _grouped(series, spans.intersect(demand.missing, before), owned, pages))
        return
    # There are few of these spans: the exchange keeps a limited number of candles.
    yield from sorted(_of_spans(series, demand, readable), key=lambda each: (each.loss_at or 0, -each.span[0]))
    # The exchange no longer offers these spans. One request proves the loss of a span, however long the span is.
    lost = reversed(spans.intersect(demand.missing, beyond))
    for chunk in _of_spans(series, demand, lost):
        yield NewChunk(chunk.config_id, chunk.backfill_id, chunk.purpose, chunk.span, None)


def _of_spans(series: Series, demand: Demand, intervals: Iterable[Interval]) -> Iterator[NewChunk]:
    shortest = shortest_length(series.timeframe)
    for span in intervals:
        if span[1] - span[0] < shortest:
            continue  # no candle fits, because the exchange has another grid
        loss_at = None
        if series.newest_readable is not None:
            loss_at = shifted(series.timeframe, span[0], series.newest_readable)
        yield NewChunk(demand.config_id, demand.backfill_id, _purpose(demand, span), span, loss_at)


def _purpose(demand: Demand, span: Interval) -> Purpose:
    if demand.reread:
        return Purpose.REREAD
    within = demand.verified_from is not None and span[0] >= demand.verified_from
    return Purpose.REPAIR if within and demand.backfill_id is None else Purpose.BACKFILL


def _doublings(open_chunks: Iterable[Chunk], verified_from: int | None) -> int:
    """How many times the width of the next chunk before the first verified instant is doubled: once for each earlier
    chunk that the exchange answered without a candle. With growing chunks, the search for the listing of a market needs
    few requests.
    """
    if verified_from is None:
        return 0
    empty = sum(1 for each in open_chunks if _is_empty(each) and each.span[1] <= verified_from)
    return min(empty, _MAX_DOUBLINGS)


def _is_empty(chunk: Chunk) -> bool:
    return chunk.retries > 0 and chunk.error_class is None


def _grouped(series: Series, missing: Intervals, owned: Intervals, pages: int) -> Iterator[Interval]:
    """Spans of at most `pages` requests, the newest first. Neighbouring pages of one hole are read in one run. Holes
    with another chunk between them become separate spans, because chunks must not overlap.
    """
    apart: list[list[Interval]] = []
    for hole in missing:
        if apart and not spans.intersect([(apart[-1][-1][1], hole[0])], owned):
            apart[-1].append(hole)
        else:
            apart.append([hole])
    for neighbours in reversed(apart):
        yield from _runs(series, tuple(neighbours), pages)


def _runs(series: Series, missing: Intervals, pages: int) -> Iterator[Interval]:
    group: Interval | None = None
    size = 0
    for start, end in pages_of(series.timeframe, series.page, missing):
        if group is not None and end == group[0] and size < pages:
            group, size = (start, group[1]), size + 1
            continue
        if group is not None:
            yield group
        group, size = (start, end), 1
    if group is not None:
        yield group
