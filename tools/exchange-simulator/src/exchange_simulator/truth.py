"""The truth about a series: which candles exist, which the exchange still offers, and which rows are impossible.

Moods change what an exchange shows and never the candles that exist. Histories change the candles that exist.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from exchange_simulator.aggregate import Candle, trimmed
from exchange_simulator.history import Status
from exchange_simulator.markets import EXCHANGES, Market
from exchange_simulator.moods import Target
from exchange_simulator.pages import Page, combined, impossible_among, offered
from exchange_simulator.series import Series
from exchange_simulator.simulator import Simulator
from exchange_simulator.timeframes import FRAMES, Frame, clamp, parse_instant
from exchange_simulator.venue import HORIZONS, Venue

_MAX_ROWS = 200_000
_DEFAULT_ROWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesTruth:
    """Facts about the closed candles of a series in a range. All times are open times in milliseconds."""

    candles: list[list[float]]
    """All candles that exist, with their final values: `[open_ms, open, high, low, close, volume]`."""
    offered: list[int]
    """The candles that the exchange would send now in reply to the right requests."""
    impossible: list[int]
    """The candles for which the exchange now always sends an impossible row."""
    impossible_shown: list[tuple[int, int]]
    """Every candle of which an impossible row was sent since the start, and how often."""


@dataclass(frozen=True, slots=True)
class _Range:
    venue: Venue
    market: Market
    frame: Frame
    start_ms: int
    stop_ms: int
    now_ms: int

    @property
    def series(self) -> Series:
        return self.venue.series(self.market)

    def candles(self) -> list[Candle]:
        return self.series.candles(self.frame, self.start_ms, self.stop_ms, self.now_ms)


def read_truth(simulator: Simulator, query: Mapping[str, str]) -> SeriesTruth:
    """The truth about `exchange`, `symbol` and `timeframe` from `start` to `end`. Raises ValueError."""
    chosen = _range(simulator, query)
    venue, market, frame = chosen.venue, chosen.market, chosen.frame
    key = venue.key(market, frame)
    target = Target(venue.exchange, market.symbol, frame.name)
    horizon = HORIZONS.get(venue.exchange)
    usual = [Page(horizon=horizon)] if horizon else []
    page = combined([*usual, simulator.moods.page_for(target, time.monotonic())])
    span = chosen.start_ms, chosen.stop_ms
    vanished = venue.history(market).status is Status.VANISHED
    shown = [] if vanished else offered(chosen.series, frame, span, chosen.now_ms, page, key)
    counts: Mapping[int, int] = venue.impossible_shown.get((market.symbol, frame.name), {})
    return SeriesTruth(
        candles=_as_numbers(chosen),
        offered=[candle.open_ms for candle in shown],
        impossible=[candle.open_ms for candle in impossible_among(shown, frame, page, key)],
        impossible_shown=sorted((at, count) for at, count in counts.items() if span[0] <= at < span[1]),
    )


def true_candles(simulator: Simulator, query: Mapping[str, str]) -> list[list[float]]:
    """The closed candles that exist, as in `SeriesTruth.candles`. Raises ValueError."""
    return _as_numbers(_range(simulator, query))


def _as_numbers(chosen: _Range) -> list[list[float]]:
    tick, lot = chosen.series.price_decimals, chosen.series.volume_decimals
    return [
        [candle.open_ms, *(float(trimmed(price, tick)) for price in candle[1:5]), float(trimmed(candle.volume, lot))]
        for candle in chosen.candles()
    ]


def _range(simulator: Simulator, query: Mapping[str, str]) -> _Range:
    venue = simulator.venues.get(query.get("exchange", ""))
    if venue is None:
        raise ValueError(f"exchange must be one of {', '.join(EXCHANGES)}")
    market = venue.listing.by_symbol.get(query.get("symbol", ""))
    if market is None:
        raise ValueError(f"{venue.exchange} has no symbol {query.get('symbol', '')!r}")
    if query.get("timeframe", "") not in FRAMES:
        raise ValueError(f"timeframe must be one of {', '.join(FRAMES)}")
    frame = venue.frame(market, FRAMES[query["timeframe"]])
    now = simulator.clock.now_ms()
    stop = frame.floor(now)
    if "end" in query:
        stop = min(stop, instant(query["end"], "end"))
    start = clamp(frame.plus(stop, -_DEFAULT_ROWS))
    if "start" in query:
        start = instant(query["start"], "start")
    if max(0, stop - start) // frame.shortest_ms + 1 > _MAX_ROWS:
        raise ValueError(f"that is more than {_MAX_ROWS} candles: request a shorter time range")
    return _Range(venue, market, frame, start, stop, now)


def instant(text: str, name: str) -> int:
    """Milliseconds since the epoch. Raises ValueError with the name of the field."""
    try:
        return parse_instant(text)
    except (ValueError, OverflowError):
        raise ValueError(f"{name} must be milliseconds since the epoch or an ISO 8601 instant") from None
