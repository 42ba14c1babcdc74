"""Events without rows, their spans in minutes after noon, and queries of the stored ledger."""

from datetime import timedelta
from typing import Any

from contracts.candles import CandlesCollected
from contracts.coverage import Absence, AbsenceClass, Span
from support.fetches import NOON, a_fetch

MINUTE = timedelta(minutes=1)
VERIFIED = "SELECT lower(span), upper(span) FROM coverage, unnest(verified) AS span ORDER BY 1"
ABSENCES = "SELECT starts_at, ends_at, absence_class FROM absences ORDER BY 1"


def span(first: int, last: int) -> Span:
    """Minutes after noon."""
    return Span(start=NOON + first * MINUTE, end=NOON + last * MINUTE)


def an_absence(first: int, last: int, kind: AbsenceClass = AbsenceClass.UNREAD, evidence: str = "deadline") -> Absence:
    return Absence(start=NOON + first * MINUTE, end=NOON + last * MINUTE, absence_class=kind, evidence=evidence)


def without_rows(second: float = 0, **values: Any) -> CandlesCollected:
    return CandlesCollected(**a_fetch(second=second).model_dump() | {"rows": ()} | values)


def times(*pairs: tuple[int, int]) -> list[tuple[Any, ...]]:
    return [(NOON + first * MINUTE, NOON + last * MINUTE) for first, last in pairs]
