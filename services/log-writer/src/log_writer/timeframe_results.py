"""The result of one timeframe of a run, as it is stored in the metadata of the run's row.

Everything that the event contains is stored. Only very long lists and texts are shortened, so that a row has a bounded
size; then `verified_count` and `requested_count` give the whole number of spans. The ledger has no such limit.
"""

from collections.abc import Sequence
from typing import Any, Final

from contracts.bounds import shortened
from contracts.coverage import Absence, RejectedRow, Span
from contracts.runs import TimeframeResult

MAX_SPANS: Final = 50
"""If a result has more spans than this, only the newest ones are stored. A run that continues after the previous run
verifies one or two spans.
"""
MAX_NOTES: Final = 20
MAX_TEXT: Final = 2000
"""The longest error message of a timeframe, in characters."""


def stored_result(result: TimeframeResult) -> dict[str, Any]:
    """The stored form. The keys are part of the API: `docs/api.md` describes them."""
    return {
        "timeframe": result.timeframe,
        "candles": result.candles,
        "pages": result.pages,
        "from": result.first_open,
        "to": result.last_open,
        "error": None if result.error_message is None else shortened(result.error_message, MAX_TEXT),
        "error_class": result.error_class,
        "notes": _notes(result.notes),
        "anchor": result.anchor,
        "verified": _spans(result.verified),
        "verified_count": len(result.verified),
        "requested": _spans(result.requested),
        "requested_count": len(result.requested),
        "lost": _spans(result.lost),
        "open_hole": None if result.open_hole is None else _absence(result.open_hole),
        "rejected": [_row(row) for row in result.rejected],
        "rejected_count": max(result.rejected_count, len(result.rejected)),
    }


def _notes(notes: Sequence[str]) -> list[str]:
    left_out = len(notes) - MAX_NOTES
    kept = [*notes[:MAX_NOTES]]
    return [*kept, f"{left_out} more notes are not stored."] if left_out > 0 else kept


def _spans(spans: Sequence[Span]) -> list[dict[str, Any]]:
    newest = sorted(spans, key=lambda span: span.start)[-MAX_SPANS:]
    return [{"start": span.start, "end": span.end} for span in newest]


def _absence(absence: Absence) -> dict[str, Any]:
    return {
        "start": absence.start,
        "end": absence.end,
        "absence_class": absence.absence_class,
        "evidence": absence.evidence,
    }


def _row(row: RejectedRow) -> dict[str, Any]:
    return {"open_time": row.open_time, "reason": row.reason, "row": row.row}
