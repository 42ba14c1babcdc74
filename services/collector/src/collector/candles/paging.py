"""How a window is read in pages, and when the reading ends. Pure: times are arguments, and nothing is fetched here.

Exchanges interpret "from `since`, at most `limit` rows" in two ways. Some (Binance, Bybit) send the first `limit`
candles that exist after `since`, however late they are. Others (Coinbase, OKX) search only the next `limit` candle
widths. If there were no trades, such a response is short or empty although later candles exist. The rules below are
correct for both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from collector.exchange.traits import ExchangeTraits
from contracts.timeframes import close_of, floor_open, shift, shortest_length


@dataclass(frozen=True)
class PageRequest:
    """One request: candles that open at `since` (ms) or later, at most `limit`."""

    timeframe: str
    since: int
    limit: int
    exact_limit: bool = False
    """Whether the exchange is known to send `limit` candles if they exist."""


class BrokenContinuity(ValueError):  # noqa: N818 -- the name states the problem
    """A page does not begin where the previous page ended."""


def first_request(
    traits: ExchangeTraits, timeframe: str, window_start: int | None, now: int, limit: int
) -> PageRequest:
    """The request for the first page. It begins one candle before the candle that contains the window's start, so that
    a candle which the exchange published late or corrected is read again. Without a start: one full page, ending with
    the open candle.
    """
    exact = traits.exact_page_limit
    if window_start is None:
        return PageRequest(timeframe, shift(timeframe, floor_open(timeframe, now), 1 - limit), limit, exact)
    start = floor_open(timeframe, min(window_start, now))
    return PageRequest(timeframe, shift(timeframe, start, -1), limit, exact)


def next_request(request: PageRequest, opens: tuple[int, ...], now: int) -> PageRequest | None:
    """The request after a response with rows that open at `opens` (ascending, none before `request.since`). The
    request was sent at `now`. None: the window is read to its end. Each request begins later than the previous one, so
    the reading ends.
    """
    last = opens[-1] if opens else None
    if last is not None and _nothing_closed_after(request.timeframe, last, now):
        return None
    has_new_rows = last is not None and last > request.since
    reaches_now = shift(request.timeframe, request.since, request.limit) > now
    if reaches_now and len(opens) < request.limit and (request.exact_limit or not has_new_rows):
        return None
    if last is None or not has_new_rows:
        # No candle within the width of a page: skip this width. The next request repeats its last candle.
        return replace(request, since=shift(request.timeframe, request.since, max(1, request.limit - 1)))
    return replace(request, since=last)


def _nothing_closed_after(timeframe: str, last: int, now: int) -> bool:
    following = close_of(timeframe, last)
    return close_of(timeframe, following) > now


def check_continuity(request: PageRequest, opens: tuple[int, ...], last_open: int | None) -> None:
    """`last_open`: the last candle of the earlier responses. If the request repeats it, the page must begin with it or
    with the next candle. Raises `BrokenContinuity` if the page begins later: candles between would be lost unnoticed.
    """
    if last_open != request.since:
        return
    if not opens:
        raise BrokenContinuity(f"the candle that opened at {last_open} was in the previous page and is now missing")
    if opens[0] > close_of(request.timeframe, request.since):
        raise BrokenContinuity(f"requested candles from {last_open} on, but the response begins at {opens[0]}")


def oldest_available(traits: ExchangeTraits, request: PageRequest, opens: tuple[int, ...], now: int) -> int | None:
    """The open time of the first candle in the page, if the request asks for older candles than the exchange keeps.
    None if no candle is missing for this reason.
    """
    history = traits.history_candles
    if history is None or not opens or opens[0] <= request.since:
        return None
    oldest_kept = shift(request.timeframe, floor_open(request.timeframe, now), 1 - history)
    return opens[0] if request.since < oldest_kept else None


def covered_until(read_until: Mapping[str, int]) -> int:
    """The time until which a run has collected (ms); the next window may start there. `read_until` contains for each
    timeframe the time of its last request.

    The last boundary of the shortest timeframe is enough for all timeframes. The next run reads the candles that were
    still open then, because it widens its window to whole candles of each timeframe.
    """
    return floor_open(min(read_until, key=shortest_length), min(read_until.values()))
