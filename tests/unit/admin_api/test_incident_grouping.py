"""The grouping of absences into incidents equals a calculation minute by minute."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from admin_api.incidents.grouping import FEWEST_SYMBOLS, Grouped, Silence, incidents_in
from contracts.coverage import AbsenceClass

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTES = 12
SILENT = (AbsenceClass.UNKNOWN, AbsenceClass.NO_TRADE, AbsenceClass.OUTAGE, AbsenceClass.LOST_AT_SOURCE)
STRONGEST = (AbsenceClass.LOST_AT_SOURCE, AbsenceClass.OUTAGE)


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


@st.composite
def silences(draw: st.DrawFn) -> Silence:
    start = draw(st.integers(-2, MINUTES))
    length = draw(st.integers(1, MINUTES))
    kind = draw(st.sampled_from(SILENT))
    return Silence(at(start), at(start + length), kind, 1, draw(st.integers(1, 3)), ("A/USDT",))


def class_of(minute: int, of: Sequence[Silence]) -> AbsenceClass | None:
    """The class of the incident in a minute; None if too few symbols are silent."""
    covering = [each for each in of if each.start <= at(minute) < each.end]
    if sum(each.symbols for each in covering) < FEWEST_SYMBOLS:
        return None
    classes = {each.absence_class for each in covering}
    return next((each for each in STRONGEST if each in classes), AbsenceClass.UNKNOWN)


@given(st.lists(silences(), max_size=6))
def test_every_minute_has_the_class_of_its_strongest_witness(given_silences: list[Silence]) -> None:
    found = incidents_in(at(0), at(MINUTES), given_silences)
    shown: dict[int, AbsenceClass] = {}
    for incident in found:
        _check(incident)
        for piece in incident.pieces:
            minutes = range((piece.start - NOON) // timedelta(minutes=1), (piece.end - NOON) // timedelta(minutes=1))
            shown |= dict.fromkeys(minutes, piece.absence_class)
    expected = {minute: class_of(minute, given_silences) for minute in range(MINUTES)}
    assert shown == {minute: kind for minute, kind in expected.items() if kind is not None}
    assert all(one.end < two.start for one, two in itertools.pairwise(found))


def _check(incident: Grouped) -> None:
    edges = [(each.start, each.end) for each in incident.pieces]
    assert (edges[0][0], edges[-1][1]) == (incident.start, incident.end)
    pairs = list(zip(incident.pieces, incident.pieces[1:], strict=False))
    assert all(one.end == two.start and one.absence_class != two.absence_class for one, two in pairs)
    assert incident.symbols >= FEWEST_SYMBOLS
