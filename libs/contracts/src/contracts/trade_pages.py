"""How time without candles is divided into runs that build candles from trades, and how many requests the runs need.
Pure.

The backfiller uses this to divide the time, and admin-api to estimate the number of requests. The number of trades in
old time is not known before they are read, so both use the mean number of trades per candle of the newest stored
candles.
"""

import math
from collections.abc import Iterator
from typing import Final

from contracts.pages import shifted
from contracts.spans import Interval, Intervals
from contracts.timeframes import parse_timeframe, shortest_length

TRADES_PER_PAGE: Final = 1_000
"""The number of trades per request."""

RATE_CANDLES: Final = 1_000
"""The largest number of candles for the mean number of trades. The newest candles whose number of trades is known are
used.
"""

_PAGES_PER_RUN: Final = 20
"""The number of requests for the span of one run. With this number, a run takes some seconds even if the exchange
allows only one request per second.
"""

_REQUESTS_BESIDE: Final = 5
"""The number of requests of a run in addition to those for its span: for the exchange's own candles, the trades of the
overlap, and the trades before the span.
"""

_LARGEST_RUN: Final = 5_000
"""The largest number of candles of a run. It keeps the events and the absences of a run small."""

_UNKNOWN_RUN: Final = 60
"""The number of candles of a run if the number of trades is not known. If a run cannot read its whole span, a later run
continues.
"""


def trade_runs(timeframe: str, missing: Intervals, trades_per_candle: float | None) -> Iterator[Interval]:
    """The spans of the runs, the newest first. `trades_per_candle`: None if it is not known."""
    size = _candles_per_run(trades_per_candle)
    for start, last in reversed(missing):
        end = last
        while end - start >= shortest_length(timeframe):
            first = max(start, shifted(timeframe, end, -size))
            yield first, end
            end = first


def trade_requests(timeframe: str, missing: Intervals, trades_per_candle: float) -> int:
    """The estimated number of requests of all `trade_runs`, computed without a loop over them."""
    run_ms = _candles_per_run(trades_per_candle) * parse_timeframe(timeframe).nominal_ms
    requests = 0
    for start, end in missing:
        if end - start < shortest_length(timeframe):
            continue
        runs = math.ceil((end - start) / run_ms)
        trades = (end - start) / parse_timeframe(timeframe).nominal_ms * trades_per_candle
        requests += math.ceil(trades / TRADES_PER_PAGE) + runs * (_REQUESTS_BESIDE + 1)
    return requests


def _candles_per_run(trades_per_candle: float | None) -> int:
    if trades_per_candle is None:
        return _UNKNOWN_RUN
    fitting = _PAGES_PER_RUN * TRADES_PER_PAGE / trades_per_candle if trades_per_candle > 0 else math.inf
    return max(1, int(min(_LARGEST_RUN, fitting)))
