"""Synthetic candles: a pure function of seed, exchange, symbol and time, the same from every direction.

Built from the top down. A day's open, close, extremes and volume come from arithmetic on its number; each day is then
split into hours, an hour into quarters, those into five minutes, minutes and seconds, so that the children's aggregate
is exactly the parent. A daily candle thus costs one evaluation and a minute about eight small splits, most of them
cached, however far away in time it lies. The road not taken is a walk over minutes, which has no cheap middle.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from exchange_simulator import catalogue
from exchange_simulator.aggregate import Candle, merge
from exchange_simulator.markets import Market
from exchange_simulator.timeframes import DAY, HOUR, MINUTE, SECOND, Frame

LEVELS_MS = (DAY, HOUR, 15 * MINUTE, 5 * MINUTE, MINUTE, SECOND)
_MINUTE_LEVEL = LEVELS_MS.index(MINUTE)
_SECOND_LEVEL = LEVELS_MS.index(SECOND)
_SWINGS = ((251, 0.16), (63, 0.08), (17, 0.04), (5, 0.02), (1, 0.014))
"""Days between the turning points of the price's swings, and how far each may swing (natural logarithm)."""
_LEAST_DAILY_LOTS = 5_000_000
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the candles of one market are made from."""

    seed: int
    market: Market
    silent_share: float
    """Share of minutes without a trade: flat at the price before them, with no volume."""
    omits_silent: bool
    """Whether the exchange leaves such minutes out instead of showing them flat."""


class Caches:
    """What was evaluated lately, of all series together: memory is bounded however many markets are asked for."""

    def __init__(self) -> None:
        self.knot = lru_cache(maxsize=16_384)(SyntheticSeries.make_knot)
        self.day = lru_cache(maxsize=16_384)(SyntheticSeries.make_day)
        self.children = lru_cache(maxsize=16_384)(SyntheticSeries.make_children)
        self.seconds = lru_cache(maxsize=256)(SyntheticSeries.make_children)
        self.whole = lru_cache(maxsize=8_192)(SyntheticSeries.merge_nodes)


class SyntheticSeries:
    """The candles of one market, from 1970 to 2200."""

    def __init__(self, recipe: Recipe, caches: Caches) -> None:
        self._caches = caches
        self.recipe = recipe
        self.price_decimals = recipe.market.price_decimals
        self.volume_decimals = recipe.market.volume_decimals
        market = recipe.market
        self._key = hash_text(f"{recipe.seed}|{market.exchange}|{market.symbol}")
        self._asset_keys = (hash_text(f"{recipe.seed}|{market.base}"), hash_text(f"{recipe.seed}|{market.quote}"))

    def candles(self, frame: Frame, start_ms: int, stop_ms: int, now_ms: int) -> list[Candle]:
        """Ascending candles that open in [start, stop) by now; one that is open now shows what it has so far."""
        first, last = frame.ceil(start_ms), frame.floor(min(stop_ms - 1, now_ms))
        if last < first:
            return []
        open_now = frame.floor(now_ms)
        closed = self._closed(frame, first, min(last, frame.plus(open_now, -1)))
        if last == open_now:
            closed.append(self._so_far(open_now, now_ms))
        if self.recipe.omits_silent:
            return [candle for candle in closed if candle.volume]
        return closed

    def _closed(self, frame: Frame, first_ms: int, last_ms: int) -> list[Candle]:
        level = _level_of(frame)
        if frame.step_ms == LEVELS_MS[level]:
            count = (last_ms - first_ms) // frame.step_ms + 1
            return self._nodes(level, first_ms // frame.step_ms, count) if count > 0 else []
        opens = frame.opens(first_ms, last_ms)
        if not frame.months and frame.step_ms < DAY:
            # Short frames: their parts are few and cached, so one pass over them is cheaper than a cache of its own.
            each = frame.step_ms // LEVELS_MS[level]
            nodes = self._nodes(level, first_ms // LEVELS_MS[level], each * len(opens)) if opens else []
            return [merge(open_ms, nodes[i * each : (i + 1) * each]) for i, open_ms in enumerate(opens)]
        return [self._caches.whole(self, level, open_ms, frame.plus(open_ms, 1)) for open_ms in opens]

    def merge_nodes(self, level: int, open_ms: int, end_ms: int) -> Candle:
        step = LEVELS_MS[level]
        return merge(open_ms, self._nodes(level, open_ms // step, (end_ms - open_ms) // step))

    def _nodes(self, level: int, first: int, count: int) -> list[Candle]:
        """`count` consecutive candles of a level, from the one with number `first` since the epoch."""
        if level == 0:
            return [self._caches.day(self, number) for number in range(first, first + count)]
        each = LEVELS_MS[level - 1] // LEVELS_MS[level]
        children = self._caches.seconds if level == _SECOND_LEVEL else self._caches.children
        nodes: list[Candle] = []
        for parent in range(first // each, (first + count - 1) // each + 1):
            nodes.extend(children(self, level - 1, parent))
        skip = first % each
        return nodes[skip : skip + count]

    def _so_far(self, open_ms: int, now_ms: int) -> Candle:
        """The open candle at second resolution: the largest whole parts first, the running second included."""
        parts, at, end = [], open_ms, now_ms // SECOND * SECOND + SECOND
        while at < end:
            level = next(i for i, step in enumerate(LEVELS_MS) if at % step == 0 and at + step <= end)
            parts.extend(self._nodes(level, at // LEVELS_MS[level], 1))
            at += LEVELS_MS[level]
        return merge(open_ms, parts)

    def make_day(self, day: int) -> Candle:
        opening, close = self._caches.knot(self, day), self._caches.knot(self, day + 1)
        dice = Random(self._key << 40 | day << 4 | 1)
        upper, lower = max(opening, close), min(opening, close)
        high = upper + 1 + int(upper * (0.002 + 0.03 * dice.random() ** 2))
        low = max(1, lower - 1 - int(lower * (0.002 + 0.03 * dice.random() ** 2)))
        return Candle(day * DAY, opening, high, low, close, self._daily_lots(dice))

    def make_knot(self, day: int) -> int:
        """Price in ticks at the start of a day. Exchanges agree to within a tenth of a percent."""
        market = self.recipe.market
        base, quote = (_swing(key, day) for key in self._asset_keys)
        drift = (0.0 if catalogue.is_money(market.base) else base) - (
            0.0 if catalogue.is_money(market.quote) else quote
        )
        local = 0.001 * _unit(self._key, day)
        return max(10, int(market.price * math.exp(drift + local) * 10**market.price_decimals))

    def _daily_lots(self, dice: Random) -> int:
        market = self.recipe.market
        dollars = 1.5e9 / catalogue.size_rank(market.base) ** 1.2 * (1.0 if market.quote == "USDT" else 0.3)
        base_units = dollars / catalogue.usd_price(market.base) * (0.5 + dice.random())
        return max(_LEAST_DAILY_LOTS, int(base_units * 10**market.volume_decimals))

    def make_children(self, level: int, number: int) -> tuple[Candle, ...]:
        """The children of one candle, at the next finer level; their aggregate is the candle."""
        parent = self._nodes(level, number, 1)[0]
        step = LEVELS_MS[level + 1]
        count = LEVELS_MS[level] // step
        dice = Random(self._key << 48 | number << 4 | (level + 2))
        silent = self.recipe.silent_share if level + 1 == _MINUTE_LEVEL else 0.0
        return tuple(split(parent, count, step, silent, dice))


def split(parent: Candle, count: int, step_ms: int, silent_share: float, dice: Random) -> list[Candle]:
    """`count` candles of `step_ms` whose aggregate is exactly `parent`; each opens where the one before it closed."""
    loud = sorted(dice.sample(range(count), min(count, parent.volume))) if parent.volume else []
    loud = [i for i in loud if not silent_share or dice.random() >= silent_share] or loud[:1]
    if not loud:
        return [parent._replace(open_ms=parent.open_ms + i * step_ms) for i in range(count)]
    volumes = _share_out(parent.volume, len(loud), dice)
    highest, lowest = dice.choice(loud), dice.choice(loud)
    children: list[Candle] = []
    price, turn = parent.open, 0
    for i in range(count):
        open_ms = parent.open_ms + i * step_ms
        if turn == len(loud) or i != loud[turn]:
            children.append(Candle(open_ms, price, price, price, price, 0))
            continue
        turn += 1
        close = parent.close if turn == len(loud) else _step_towards(parent, turn / len(loud), dice)
        upper, lower = max(price, close), min(price, close)
        high = parent.high if i == highest else upper + int((parent.high - upper) * 0.4 * dice.random() ** 2)
        low = parent.low if i == lowest else lower - int((lower - parent.low) * 0.4 * dice.random() ** 2)
        children.append(Candle(open_ms, price, high, low, close, volumes[turn - 1]))
        price = close
    return children


def _step_towards(parent: Candle, progress: float, dice: Random) -> int:
    """A price on the way from open to close, with noise that vanishes at both ends, inside the parent's range."""
    straight = parent.open + (parent.close - parent.open) * progress
    noise = (dice.random() - 0.5) * (parent.high - parent.low) * 2 * math.sqrt(progress * (1 - progress))
    return max(parent.low, min(parent.high, round(straight + noise)))


def _share_out(total: int, count: int, dice: Random) -> list[int]:
    """`total` in `count` positive whole shares; needs total >= count."""
    weights = [0.2 + dice.random() for _ in range(count)]
    scale = (total - count) / sum(weights)
    shares = [1 + int(weight * scale) for weight in weights]
    shares[0] += total - sum(shares)
    return shares


def _level_of(frame: Frame) -> int:
    """The coarsest level whose candles fill the frame's."""
    if frame.months:
        return 0 if frame.anchor_ms % DAY == 0 else 1
    return next(i for i, step in enumerate(LEVELS_MS) if frame.step_ms % step == 0 and frame.anchor_ms % step == 0)


def _swing(key: int, day: int) -> float:
    """The logarithm of how far an asset is from its usual price: cosine-eased noise of several periods."""
    total = 0.0
    for period, reach in _SWINGS:
        number, into = divmod(day, period)
        ease = (1 - math.cos(math.pi * into / period)) / 2
        here, there = _unit(key ^ period, number), _unit(key ^ period, number + 1)
        total += reach * (here + (there - here) * ease)
    return total


def _unit(key: int, number: int) -> float:
    """A hash of both in [-1, 1): splitmix64."""
    x = (key + (number + 1) * 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((x ^ (x >> 31)) >> 11) / (1 << 52) - 1


def hash_text(text: str) -> int:
    """A stable 64-bit number; Python's own `hash` of a text changes with every process."""
    number = 0xCBF29CE484222325
    for byte in text.encode():
        number = ((number ^ byte) * 0x100000001B3) & _MASK
    return number
