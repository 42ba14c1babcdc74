"""How a window is read in pages, and when the reading ends. Pure: times are arguments, nothing is fetched here.

Exchanges answer "from `since`, at most `limit` rows" in two ways. Some (Binance, Bybit) send the first `limit` candles
that exist from there on, however far away; some (Coinbase, OKX) look only `limit` candle widths ahead, and silent
minutes make that answer short or empty though more follows. The rules below are right for both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from collector.exchange.traits import ExchangeTraits
from contracts.timeframes import close_of, floor_open, shift, shortest_length


@dataclass(frozen=True)
class Step:
    """One request: candles that open at `since` or later, at most `limit`."""

    timeframe: str
    since: int
    limit: int
    sure: bool = False
    """Whether the exchange is known to give as many as `limit`."""


class BrokenContinuity(ValueError):  # noqa: N818 -- it names what was found
    """A page does not begin where the one before it ended."""


def first_step(traits: ExchangeTraits, timeframe: str, window_start: int | None, now: int, limit: int) -> Step:
    """Where to begin: one candle before the one that contains the window's start, so that a candle which the exchange
    published late, or corrected, is read once more. Without a start: one full page, ending with the open candle.
    """
    sure = traits.exact_page_limit
    if window_start is None:
        return Step(timeframe, shift(timeframe, floor_open(timeframe, now), 1 - limit), limit, sure)
    begin = floor_open(timeframe, min(window_start, now))
    return Step(timeframe, shift(timeframe, begin, -1), limit, sure)


def next_step(step: Step, opens: tuple[int, ...], now: int) -> Step | None:
    """What to ask for after an answer with rows opening at `opens` (ascending, none before `step.since`), asked at
    `now`. None: the window is read to its end. Every step begins later than the one before, so the reading ends.
    """
    last = opens[-1] if opens else None
    if last is not None and _nothing_closed_after(step.timeframe, last, now):
        return None
    anything_new = last is not None and last > step.since
    reaches_now = shift(step.timeframe, step.since, step.limit) > now
    if reaches_now and len(opens) < step.limit and (step.sure or not anything_new):
        return None
    if last is None or not anything_new:
        # Nothing in a whole page's width. Step over it; the last candle of the width is asked for again.
        return replace(step, since=shift(step.timeframe, step.since, max(1, step.limit - 1)))
    return replace(step, since=last)


def _nothing_closed_after(timeframe: str, last: int, now: int) -> bool:
    following = close_of(timeframe, last)
    return close_of(timeframe, following) > now


def check_continuity(step: Step, opens: tuple[int, ...], known: int | None) -> None:
    """`known`: the last candle of the earlier answers. Asked for again, it or at least its neighbour must come again.
    Raises `BrokenContinuity` when the exchange jumped ahead: what lies between would be lost without a word.
    """
    if known != step.since:
        return
    if not opens:
        raise BrokenContinuity(f"the candle that opened at {known} was there and is not any more")
    if opens[0] > close_of(step.timeframe, step.since):
        raise BrokenContinuity(f"asked for candles from {known} on, the answer begins at {opens[0]}")


def beyond_horizon(traits: ExchangeTraits, step: Step, opens: tuple[int, ...], now: int) -> int | None:
    """The first candle that could be had, when older ones were asked for and the exchange is known not to keep them."""
    horizon = traits.history_candles
    if horizon is None or not opens or opens[0] <= step.since:
        return None
    oldest = shift(step.timeframe, floor_open(step.timeframe, now), 1 - horizon)
    return opens[0] if step.since < oldest else None


def covered_until(read_until: Mapping[str, int]) -> int:
    """Up to where a run has collected, so that the next window may start there; `read_until` says for each timeframe
    by what time its last page was asked for.

    The shortest timeframe's last boundary is enough for all: what was still open then is read by the next run, whose
    window is widened to whole candles of each timeframe.
    """
    return floor_open(min(read_until, key=shortest_length), min(read_until.values()))
