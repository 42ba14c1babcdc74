"""Timeframes as grids of open times, in milliseconds since the epoch, UTC."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from contracts.timeframes import parse_timeframe

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


def _frame(name: str) -> Frame:
    parsed = parse_timeframe(name)
    return Frame(name, parsed.fixed_ms or 0, parsed.months or 0, anchor_ms=MONDAY if parsed.unit == "w" else 0)


_NAMES = (
    *("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h"),
    *("1d", "3d", "1w", "1M", "3M"),
)

FRAMES = {name: _frame(name) for name in _NAMES} | {"2w": Frame("2w", 15 * DAY)}
"""ccxt's timeframe names to grids. Kraken's `2w` is 21,600 minutes: fifteen days, counted from the epoch."""


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
