"""Synthetic candles: a pure function of seed, exchange, symbol and time.

The candles are computed from the top down. The number of a day determines its open, close, high, low and volume. A day
is split into hours, an hour into quarters, then into five minutes, minutes and seconds, so that the children's
aggregate is exactly the parent. A daily candle needs one evaluation and a minute about eight small splits, most of them
cached, for any time. The rejected alternative is a random walk over minutes: it must compute all minutes before one.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from exchange_simulator import catalogue
from exchange_simulator.aggregate import Candle, merge
from exchange_simulator.markets import Market
from exchange_simulator.series import Span
from exchange_simulator.timeframes import DAY, HOUR, LAST_MS, MINUTE, SECOND, Frame

LEVELS_MS = (DAY, HOUR, 15 * MINUTE, 5 * MINUTE, MINUTE, SECOND)
_MINUTE_LEVEL = LEVELS_MS.index(MINUTE)
_SECOND_LEVEL = LEVELS_MS.index(SECOND)
_SWINGS = ((251, 0.16), (63, 0.08), (17, 0.04), (5, 0.02), (1, 0.014))
"""The periods of the price's movements in days, and the amplitude of each (natural logarithm)."""
_MIN_DAILY_LOTS = 5_000_000
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class SeriesParameters:
    """The parameters of one market's candles."""

    seed: int
    market: Market
    silent_share: float
    """The share of minutes without a trade. They have the price before them and no volume."""
    omits_silent: bool
    """Whether the exchange omits such minutes instead of showing flat candles."""


class Caches:
    """Caches that all series share, so that the memory is bounded for any number of markets."""

    def __init__(self) -> None:
        self.opening = lru_cache(maxsize=16_384)(SyntheticSeries.make_opening)
        self.day = lru_cache(maxsize=16_384)(SyntheticSeries.make_day)
        self.children = lru_cache(maxsize=16_384)(SyntheticSeries.make_children)
        self.seconds = lru_cache(maxsize=256)(SyntheticSeries.make_children)
        self.whole = lru_cache(maxsize=8_192)(SyntheticSeries.merge_nodes)


class SyntheticSeries:
    """The candles of one market, from 1970 to 2200."""

    def __init__(self, parameters: SeriesParameters, caches: Caches) -> None:
        self._caches = caches
        self.parameters = parameters
        self.span: Span = (0, LAST_MS)
        self.price_decimals = parameters.market.price_decimals
        self.volume_decimals = parameters.market.volume_decimals
        market = parameters.market
        self._key = hash_text(f"{parameters.seed}|{market.exchange}|{market.symbol}")
        self._asset_keys = (
            hash_text(f"{parameters.seed}|{market.base}"),
            hash_text(f"{parameters.seed}|{market.quote}"),
        )

    def candles(self, frame: Frame, start_ms: int, stop_ms: int, now_ms: int) -> list[Candle]:
        """Ascending candles that open in [start, stop) and not after now. An open candle has the data up to now."""
        first, last = frame.ceil(start_ms), frame.floor(min(stop_ms - 1, now_ms))
        if last < first:
            return []
        open_now = frame.floor(now_ms)
        closed = self._closed(frame, first, min(last, frame.plus(open_now, -1)))
        if last == open_now and (so_far := self.between(open_now, frame.plus(open_now, 1), now_ms)):
            closed.append(so_far)
        if self.parameters.omits_silent:
            return [candle for candle in closed if candle.volume]
        return closed

    def _closed(self, frame: Frame, first_ms: int, last_ms: int) -> list[Candle]:
        level = _level_of(frame)
        if frame.step_ms == LEVELS_MS[level]:
            count = (last_ms - first_ms) // frame.step_ms + 1
            return self._nodes(level, first_ms // frame.step_ms, count) if count > 0 else []
        opens = frame.opens(first_ms, last_ms)
        if not frame.months and frame.step_ms < DAY:
            # The parts of short frames are few and cached, so one pass over them is cheaper than another cache.
            each = frame.step_ms // LEVELS_MS[level]
            nodes = self._nodes(level, first_ms // LEVELS_MS[level], each * len(opens)) if opens else []
            return [merge(open_ms, nodes[i * each : (i + 1) * each]) for i, open_ms in enumerate(opens)]
        return [self._caches.whole(self, level, open_ms, frame.plus(open_ms, 1)) for open_ms in opens]

    def merge_nodes(self, level: int, open_ms: int, end_ms: int) -> Candle:
        step = LEVELS_MS[level]
        return merge(open_ms, self._nodes(level, open_ms // step, (end_ms - open_ms) // step))

    def _nodes(self, level: int, first: int, count: int) -> list[Candle]:
        """`count` consecutive candles of a level. `first` is the number of the first one since the epoch."""
        if level == 0:
            return [self._caches.day(self, number) for number in range(first, first + count)]
        each = LEVELS_MS[level - 1] // LEVELS_MS[level]
        children = self._caches.seconds if level == _SECOND_LEVEL else self._caches.children
        nodes: list[Candle] = []
        for parent in range(first // each, (first + count - 1) // each + 1):
            nodes.extend(children(self, level - 1, parent))
        skip = first % each
        return nodes[skip : skip + count]

    def between(self, start_ms: int, end_ms: int, now_ms: int) -> Candle | None:
        """The aggregate of [start, end) up to the current second, merged from parts that are as large as possible."""
        parts, at, end = [], start_ms, min(end_ms, now_ms // SECOND * SECOND + SECOND)
        while at < end:
            level = next(i for i, step in enumerate(LEVELS_MS) if at % step == 0 and at + step <= end)
            parts.extend(self._nodes(level, at // LEVELS_MS[level], 1))
            at += LEVELS_MS[level]
        return merge(start_ms, parts) if parts else None

    def make_day(self, day: int) -> Candle:
        opening, close = self._caches.opening(self, day), self._caches.opening(self, day + 1)
        rng = Random(self._key << 40 | day << 4 | 1)
        upper, lower = max(opening, close), min(opening, close)
        high = upper + 1 + int(upper * (0.002 + 0.03 * rng.random() ** 2))
        low = max(1, lower - 1 - int(lower * (0.002 + 0.03 * rng.random() ** 2)))
        return Candle(day * DAY, opening, high, low, close, self._daily_lots(rng))

    def make_opening(self, day: int) -> int:
        """The price in ticks at the start of a day. Exchanges differ by less than 0.2 %."""
        market = self.parameters.market
        base, quote = (_deviation(key, day) for key in self._asset_keys)
        drift = (0.0 if catalogue.is_currency(market.base) else base) - (
            0.0 if catalogue.is_currency(market.quote) else quote
        )
        local = 0.001 * hash_number(self._key, day)
        return max(10, int(market.price * math.exp(drift + local) * 10**market.price_decimals))

    def _daily_lots(self, rng: Random) -> int:
        market = self.parameters.market
        dollars = 1.5e9 / catalogue.size_rank(market.base) ** 1.2 * (1.0 if market.quote == "USDT" else 0.3)
        base_units = dollars / catalogue.usd_price(market.base) * (0.5 + rng.random())
        return max(_MIN_DAILY_LOTS, int(base_units * 10**market.volume_decimals))

    def make_children(self, level: int, number: int) -> tuple[Candle, ...]:
        """The children of one candle at the next finer level. Their aggregate is the candle."""
        parent = self._nodes(level, number, 1)[0]
        step = LEVELS_MS[level + 1]
        count = LEVELS_MS[level] // step
        rng = Random(self._key << 48 | number << 4 | (level + 2))
        silent = self.parameters.silent_share if level + 1 == _MINUTE_LEVEL else 0.0
        return tuple(split(parent, count, step, silent, rng))


def split(parent: Candle, count: int, step_ms: int, silent_share: float, rng: Random) -> list[Candle]:
    """`count` candles of `step_ms` whose aggregate is exactly `parent`. Each opens at the close of the one before."""
    traded = sorted(rng.sample(range(count), min(count, parent.volume))) if parent.volume else []
    traded = [i for i in traded if not silent_share or rng.random() >= silent_share] or traded[:1]
    if not traded:
        return [parent._replace(open_ms=parent.open_ms + i * step_ms) for i in range(count)]
    volumes = _share_out(parent.volume, len(traded), rng)
    highest, lowest = rng.choice(traded), rng.choice(traded)
    children: list[Candle] = []
    price, done = parent.open, 0
    for i in range(count):
        open_ms = parent.open_ms + i * step_ms
        if done == len(traded) or i != traded[done]:
            children.append(Candle(open_ms, price, price, price, price, 0))
            continue
        done += 1
        close = parent.close if done == len(traded) else _step_towards(parent, done / len(traded), rng)
        upper, lower = max(price, close), min(price, close)
        high = parent.high if i == highest else upper + int((parent.high - upper) * 0.4 * rng.random() ** 2)
        low = parent.low if i == lowest else lower - int((lower - parent.low) * 0.4 * rng.random() ** 2)
        children.append(Candle(open_ms, price, high, low, close, volumes[done - 1]))
        price = close
    return children


def _step_towards(parent: Candle, progress: float, rng: Random) -> int:
    """A price between open and close plus noise, within the parent's range. The noise is zero at both ends."""
    straight = parent.open + (parent.close - parent.open) * progress
    noise = (rng.random() - 0.5) * (parent.high - parent.low) * 2 * math.sqrt(progress * (1 - progress))
    return max(parent.low, min(parent.high, round(straight + noise)))


def _share_out(total: int, count: int, rng: Random) -> list[int]:
    """`total` divided into `count` positive integers. `total` must be at least `count`."""
    weights = [0.2 + rng.random() for _ in range(count)]
    scale = (total - count) / sum(weights)
    shares = [1 + int(weight * scale) for weight in weights]
    shares[0] += total - sum(shares)
    return shares


def _level_of(frame: Frame) -> int:
    """The coarsest level whose candles fit exactly into candles of the frame."""
    if frame.months:
        return 0 if frame.anchor_ms % DAY == 0 else 1
    return next(i for i, step in enumerate(LEVELS_MS) if frame.step_ms % step == 0 and frame.anchor_ms % step == 0)


def _deviation(key: int, day: int) -> float:
    """The logarithm of the price relative to the usual price: noise of several periods, interpolated by cosine."""
    total = 0.0
    for period, amplitude in _SWINGS:
        number, into = divmod(day, period)
        ease = (1 - math.cos(math.pi * into / period)) / 2
        start, end = hash_number(key ^ period, number), hash_number(key ^ period, number + 1)
        total += amplitude * (start + (end - start) * ease)
    return total


def hash_number(key: int, number: int) -> float:
    """A hash of both numbers in [-1, 1), by splitmix64."""
    x = (key + (number + 1) * 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((x ^ (x >> 31)) >> 11) / (1 << 52) - 1


def hash_text(text: str) -> int:
    """A stable 64-bit hash. Python's `hash` of a text differs between processes."""
    number = 0xCBF29CE484222325
    for byte in text.encode():
        number = ((number ^ byte) * 0x100000001B3) & _MASK
    return number
