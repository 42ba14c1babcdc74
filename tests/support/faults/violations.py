"""What must not be, whatever breaks."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    LOST_SLOT = "lost slot"
    LOST_TICK = "tick without a run"
    DUPLICATE = "duplicate"
    EARLY = "early"
    LATE = "late"
    UNASKED = "run while disabled"
    STUCK = "stuck"
    ABANDONED = "not run again"
    REORDERED = "reordered"
    CANDLE_MISSING = "candle missing"
    CANDLE_EXTRA = "candle extra"
    CANDLE_WRONG = "candle wrong"
    CANDLE_STALE = "candle of an older fetch"
    OVER_RATE = "over rate"
    BEFORE_RETRY_AFTER = "before Retry-After"
    LOST_CHANGE = "lost change"
    INVENTED_CHANGE = "invented change"
    LETTER_UNEXPECTED = "dead letter unexpected"
    LETTER_MISSING = "dead letter missing"
    LETTER_LATE = "dead letter late"


@dataclass(frozen=True)
class Violation:
    kind: Kind
    subject: str
    what: str
