"""Timeframes as grids of open times, in milliseconds since the epoch, UTC."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MONDAY = 4 * DAY
"""1970-01-05, the first Monday. On all simulated exchanges, weeks open on Monday."""
LAST_MS = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp()) * 1_000
"""Times in requests are limited to the years 1970 to 2200, so that extreme values need no computation."""

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Frame:
    """A grid of open times: every `step_ms` from `anchor_ms`, or every `months` calendar months if that is set."""

    name: str
    step_ms: int = 0
    months: int = 0
    anchor_ms: int = 0

    @property
    def shortest_ms(self) -> int:
        """The length of the shortest candle."""
        return self.step_ms or self.months * 28 * DAY

    def floor(self, instant_ms: int) -> int:
        """The open time of the candle that contains the instant."""
        if self.months:
            return self._month_open(self._month_number(instant_ms) // self.months * self.months)
        return (instant_ms - self.anchor_ms) // self.step_ms * self.step_ms + self.anchor_ms

    def ceil(self, instant_ms: int) -> int:
        """The first open time that is not before the instant."""
        floor = self.floor(instant_ms)
        return floor if floor == instant_ms else self.plus(floor, 1)

    def plus(self, open_ms: int, count: int) -> int:
        """The open time of the candle that is `count` candles after (if negative: before) the one at `open_ms`."""
        if self.months:
            return self._month_open(self._month_number(open_ms) + count * self.months)
        return open_ms + count * self.step_ms

    def opens(self, first_ms: int, last_ms: int) -> list[int]:
        """All open times from `first_ms` to `last_ms`. Both are on the grid and included."""
        if not self.months:
            return list(range(first_ms, last_ms + 1, self.step_ms))
        opens = []
        while first_ms <= last_ms:
            opens.append(first_ms)
            first_ms = self.plus(first_ms, 1)
        return opens

    def is_made_of(self, finer: "Frame") -> bool:
        """Whether candles of `finer` fit exactly into each candle of this grid."""
        if self.months:
            return (
                not finer.months
                and DAY % finer.step_ms == 0
                and (self.anchor_ms - finer.anchor_ms) % finer.step_ms == 0
            )
        if finer.months:
            return False
        return self.step_ms % finer.step_ms == 0 and (self.anchor_ms - finer.anchor_ms) % finer.step_ms == 0

    def _month_number(self, instant_ms: int) -> int:
        day = _EPOCH + timedelta(days=(instant_ms - self.anchor_ms) // DAY)
        return day.year * 12 + day.month - 1

    def _month_open(self, number: int) -> int:
        return (date(number // 12, number % 12 + 1, 1) - _EPOCH).days * DAY + self.anchor_ms


def _frames() -> dict[str, Frame]:
    fixed = {"1s": SECOND}
    fixed |= {f"{n}m": n * MINUTE for n in (1, 3, 5, 15, 30)}
    fixed |= {f"{n}h": n * HOUR for n in (1, 2, 4, 6, 8, 12)}
    fixed |= {f"{n}d": n * DAY for n in (1, 3)}
    frames = {name: Frame(name, step) for name, step in fixed.items()}
    frames["1w"] = Frame("1w", 7 * DAY, anchor_ms=MONDAY)
    # Kraken's "2w" is 21600 minutes: fifteen days.
    frames["2w"] = Frame("2w", 15 * DAY)
    return frames | {f"{n}M": Frame(f"{n}M", months=n) for n in (1, 3)}


FRAMES = _frames()
"""ccxt's timeframe names to grids."""


def at_utc_offset(frame: Frame, hours: int) -> Frame:
    """The same grid in a time zone `hours` ahead of UTC. OKX's `1D` opens at midnight in Hong Kong."""
    return Frame(frame.name, frame.step_ms, frame.months, frame.anchor_ms - hours * HOUR)


def parse_instant(text: str) -> int:
    """Milliseconds from `1700000000000` or an ISO 8601 instant (UTC if it has no zone). Otherwise raises ValueError."""
    if text.lstrip("-").isdigit():
        return clamp(int(text))
    parsed = datetime.fromisoformat(text)
    return clamp(round((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1_000))


def clamp(instant_ms: int) -> int:
    return max(0, min(instant_ms, LAST_MS))
