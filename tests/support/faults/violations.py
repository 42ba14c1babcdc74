"""The kinds of violations that the checker reports."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    LOST_SLOT = "lost slot"
    LOST_TICK = "tick without a run"
    DUPLICATE = "duplicate"
    EARLY = "early"
    LATE = "late"
    RUN_WHILE_DISABLED = "run while disabled"
    STUCK = "stuck"
    NOT_RUN_AGAIN = "not run again"
    NOT_SUPERSEDED = "superseded by no newer run"
    REORDERED = "reordered"
    CANDLE_MISSING = "candle missing"
    CANDLE_EXTRA = "candle extra"
    CANDLE_WRONG = "candle wrong"
    CANDLE_STALE = "candle of an older fetch"
    LEDGER_CONTRADICTION = "ledger contradiction"
    SPAN_LOST = "verified span lost"
    SPAN_INVENTED = "verified span invented"
    GOOD_ROW_REJECTED = "good row rejected"
    OFFERED_BUT_LOST = "offered candle called lost"
    NOT_COLLECTED = "offered candle not collected"
    OVER_RATE = "over rate"
    BEFORE_RETRY_AFTER = "before Retry-After"
    LOST_CHANGE = "lost change"
    INVENTED_CHANGE = "invented change"
    DEAD_LETTER_UNEXPECTED = "dead letter unexpected"
    DEAD_LETTER_MISSING = "dead letter missing"
    DEAD_LETTER_LATE = "dead letter late"


@dataclass(frozen=True)
class Violation:
    """One broken guarantee: of which object, and how."""

    kind: Kind
    subject: str
    details: str
