"""Decides whether the disks have enough space. Pure: no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from admin_api.doctor.results import Check, failed, ok, warning

FREE_WARNING: Final = 0.2
FREE_FAILURE: Final = 0.1
SIZE_WARNING: Final = 10 * 1024**3
DOUBLING_WARNING_DAYS: Final = 30
_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")
_STEP: Final = 1024


@dataclass(frozen=True)
class LogFolder:
    """A folder of a broker with the partitions in it.

    `total` and `usable` are the bytes of the folder's disk; -1 means unknown.
    """

    path: str
    is_offline: bool
    used: int
    total: int
    usable: int

    @property
    def free_share(self) -> float | None:
        return self.usable / self.total if self.total > 0 and self.usable >= 0 else None


def disk_check(broker: int, folders: Sequence[LogFolder]) -> Check:
    """The check of the disks. The result depends on the folder with the least free space."""
    check = f"disk of broker {broker}"
    if offline := [each.path for each in folders if each.is_offline]:
        return failed(
            check,
            f"cannot use {', '.join(offline)}",
            "Read the log of the broker: the disk is full, broken, or not readable. Repair it and restart the broker.",
        )
    known = [(each.free_share, each) for each in folders if each.free_share is not None]
    if not known:
        return warning(check, "the broker does not tell its free space", "Watch the disk with the tools of its host.")
    share, least = min(known, key=lambda pair: pair[0])
    used = size_text(sum(each.used for each in folders))
    found = f"{size_text(least.usable)} of {size_text(least.total)} ({share:.0%}) free, {used} of messages"
    advice = "A broker stops if its disk is full. Enlarge the volume, or lower the retention of the largest topics."
    if share < FREE_FAILURE:
        return failed(check, found, advice)
    if share < FREE_WARNING:
        return warning(check, found, advice)
    return ok(check, found)


def database_size_check(size: int, candles: int, candle_bytes: int, new_records: int) -> Check:
    """`candle_bytes` is the size of the table of candles, and `new_records` were collected in the last day.

    The database cannot report the free space of its disk. So a large database that grows fast is a warning.
    """
    per_day = round(new_records * candle_bytes / candles) if candles else 0
    found = f"{size_text(size)}, and at most {size_text(per_day)} of new candles per day"
    if size > SIZE_WARNING and per_day * DOUBLING_WARNING_DAYS > size:
        return warning(
            "size of Postgres",
            f"{found}: it may double in {max(1, size // per_day)} days",
            "Postgres does not tell the free space of its disk: check it, and enlarge the volume in time.",
        )
    return ok("size of Postgres", found)


def size_text(size: int) -> str:
    """The size as text, such as `1.5 GiB`."""
    value = float(size)
    for unit in _UNITS[:-1]:
        if value < _STEP:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= _STEP
    return f"{value:.1f} {_UNITS[-1]}"
