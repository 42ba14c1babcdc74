"""The minute in which a test starts, and the times before it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from contracts.coverage import to_milliseconds
from support.stored_ledgers import MINUTE


def _this_minute() -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0)


@dataclass
class CurrentMinute:
    """The tests of a long session start long after this module was imported, see `renew`."""

    starts_at: datetime = field(default_factory=_this_minute)

    def renew(self) -> None:
        self.starts_at = _this_minute()


CURRENT_MINUTE = CurrentMinute()


def now() -> datetime:
    """The start of the minute in which the test started."""
    return CURRENT_MINUTE.starts_at


def minutes_ago(minutes: float) -> int:
    return to_milliseconds(now()) - int(minutes * MINUTE)


def start_date(days: int) -> str:
    return (now() - timedelta(days=days)).date().isoformat()


def first_minute(days: int) -> datetime:
    return (now() - timedelta(days=days)).replace(hour=0, minute=0)
