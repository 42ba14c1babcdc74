"""The classes of absence: names of earlier releases, and the minimum level of evidence."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from contracts.coverage import ANSWERED_CLASSES, MINIMUM_LEVELS, WHOLE_CLASSES, Absence, AbsenceClass, names_of

LEVELS = {
    "unread": 0,
    "unknown": 0,
    "rejected": 0,
    "beyond_horizon": 0,
    "before_listing": 3,
    "delisted": 3,
    "no_trade": 3,
    "outage": 6,
    "lost_at_source": 7,
}


def document(kind: str, **values: Any) -> dict[str, Any]:
    start, end = (datetime(2026, 11, 22, 12, minute, tzinfo=UTC).isoformat() for minute in (0, 5))
    return {"start": start, "end": end, "absence_class": kind, "evidence": "answer"} | values


@pytest.mark.parametrize(("earlier", "now"), [("unproven", "unknown"), ("lost", "beyond_horizon")])
def test_events_of_earlier_releases_are_read(earlier: str, now: str) -> None:
    for absence in (Absence(**document(earlier)), Absence.model_validate_json(json.dumps(document(earlier)))):
        assert (absence.absence_class.value, absence.level, absence.proof) == (now, 0, ())
        assert json.loads(absence.model_dump_json())["absence_class"] == now
    assert names_of([AbsenceClass(now)]) == sorted([earlier, now])


def test_other_names_are_refused() -> None:
    with pytest.raises(ValidationError):
        Absence(**document("vanished"))


@pytest.mark.parametrize("kind", AbsenceClass)
def test_a_class_needs_its_minimum_level(kind: AbsenceClass) -> None:
    needed = LEVELS[kind.value]
    assert MINIMUM_LEVELS[kind] == needed
    assert Absence(**document(kind.value, level=needed)).level == needed
    if needed:
        with pytest.raises(ValidationError, match=f"level {needed} or higher"):
            Absence(**document(kind.value, level=needed - 1))


def test_whole_and_final_classes() -> None:
    assert {each.value for each in WHOLE_CLASSES} == {"no_trade", "outage"}
    assert {each.value for each in AbsenceClass} - {each.value for each in ANSWERED_CLASSES} == {
        "unread",
        "unknown",
        "rejected",
    }
