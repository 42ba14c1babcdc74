"""Times of the week in which notifications wait. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY: Final = "|".join(_DAYS)
_ENTRY: Final = re.compile(rf"(?:(?P<first>{_DAY})(?:-(?P<last>{_DAY}))? )?(?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d)")
_MINUTES_OF_A_DAY: Final = 24 * 60
_MINUTES_OF_AN_HOUR: Final = 60


@dataclass(frozen=True)
class _Entry:
    days: frozenset[int]
    """The days on which the quiet time begins; Monday is 0."""
    start: int
    """The start in minutes since midnight."""
    end: int
    """The end in minutes since midnight. If it is not later than the start, it is on the next day."""

    def contains(self, day: int, minute: int) -> bool:
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        return (day in self.days and minute >= self.start) or ((day - 1) % 7 in self.days and minute < self.end)


@dataclass(frozen=True)
class QuietHours:
    """Without entries, no time is quiet."""

    entries: tuple[_Entry, ...]
    time_zone: tzinfo

    def contain(self, now: datetime) -> bool:
        local = now.astimezone(self.time_zone)
        minute = local.hour * _MINUTES_OF_AN_HOUR + local.minute
        return any(entry.contains(local.weekday(), minute) for entry in self.entries)


def parse(text: str, time_zone: tzinfo) -> QuietHours:
    """`22:00-07:00`, or with days: `Mon-Fri 22:00-07:00, Sat-Sun 00:00-24:00`. Raises `ValueError`."""
    return QuietHours(tuple(_entry(part.strip()) for part in text.split(",") if part.strip()), time_zone)


def _entry(text: str) -> _Entry:
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time such as 22:00-07:00 or Sat-Sun 00:00-24:00")
    start, end = _minute(match["start"]), _minute(match["end"])
    if start in {end, _MINUTES_OF_A_DAY}:
        raise ValueError(f"{text!r} has no duration; write 00:00-24:00 for a whole day")
    return _Entry(_days(match["first"], match["last"]), start, end)


def _days(first: str | None, last: str | None) -> frozenset[int]:
    if first is None:
        return frozenset(range(7))
    begin = _DAYS.index(first)
    return frozenset((begin + each) % 7 for each in range((_DAYS.index(last or first) - begin) % 7 + 1))


def _minute(text: str) -> int:
    hours, minutes = (int(part) for part in text.split(":"))
    found = hours * _MINUTES_OF_AN_HOUR + minutes
    if minutes >= _MINUTES_OF_AN_HOUR or found > _MINUTES_OF_A_DAY:
        raise ValueError(f"{text!r} is not a time of the day")
    return found
