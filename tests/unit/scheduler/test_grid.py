import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from contracts.coverage import to_instant, to_milliseconds
from scheduler.grid import MINUTE_MS, Grid, grid_of

INSTANTS = st.integers(min_value=0, max_value=4_102_444_800_000)
IDS = st.integers(min_value=1, max_value=2**62)
MINUTES = st.integers(min_value=1, max_value=10_080)
SPREADS = st.integers(min_value=0, max_value=3_600_000)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    return grid_of(draw(IDS), draw(MINUTES), draw(SPREADS))


@given(grids(), INSTANTS)
def test_an_instant_lies_between_its_slot_and_the_next(grid: Grid, instant: int) -> None:
    assert grid.slot_at(instant) <= instant < grid.slot_after(instant)
    assert grid.slot_after(instant) - grid.slot_at(instant) == grid.interval_ms


@given(grids(), INSTANTS)
def test_slots_are_whole_intervals_from_the_epoch_plus_the_phase(grid: Grid, instant: int) -> None:
    assert (grid.slot_at(instant) - grid.phase_ms) % grid.interval_ms == 0


@given(grids(), INSTANTS)
def test_a_slot_is_its_own_slot(grid: Grid, instant: int) -> None:
    slot = grid.slot_at(instant)
    assert grid.slot_at(slot) == slot
    assert grid.slot_at(slot - 1) == slot - grid.interval_ms


@given(grids(), INSTANTS, st.integers(min_value=-5, max_value=20), st.data())
def test_slots_between_are_counted_as_if_one_by_one(grid: Grid, after: int, steps: int, data: st.DataObject) -> None:
    until = after + steps * grid.interval_ms + data.draw(st.integers(0, grid.interval_ms - 1))
    counted, slot = 0, grid.slot_after(after)
    while slot <= until:
        counted, slot = counted + 1, grid.slot_after(slot)
    assert grid.slots_between(after, until) == counted


@given(IDS, MINUTES, SPREADS)
def test_the_phase_lies_within_the_spread_and_the_interval(config_id: int, minutes: int, spread: int) -> None:
    grid = grid_of(config_id, minutes, spread)
    assert 0 <= grid.phase_ms < max(1, min(spread, minutes * MINUTE_MS))


def test_the_phase_is_the_same_in_another_process() -> None:
    code = "from scheduler.grid import grid_of; print([grid_of(i, 10, 300_000).phase_ms for i in range(1, 6)])"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert other.stdout.strip() == str([grid_of(config_id, 10, 300_000).phase_ms for config_id in range(1, 6)])


def test_the_phase_of_an_id_never_changes_between_releases() -> None:
    assert [grid_of(config_id, 10, 300_000).phase_ms for config_id in (1, 2, 1000)] == [73910, 181100, 93474]


def test_the_slots_of_ten_thousand_configs_are_spread_over_many_seconds() -> None:
    seconds = [grid_of(config_id, 10, 300_000).phase_ms // 1000 for config_id in range(1, 10_001)]
    busiest = max(seconds.count(second) for second in set(seconds))
    assert busiest < 80, "an even spread over 300 s would be 33 a second"


def test_without_a_spread_all_slots_are_on_the_full_interval() -> None:
    assert grid_of(7, 10, 0).slot_at(to_milliseconds(datetime(2026, 1, 1, 10, 9, 59, tzinfo=UTC))) == to_milliseconds(
        datetime(2026, 1, 1, 10, 0, tzinfo=UTC)
    )


@given(st.datetimes(timezones=st.just(UTC)).filter(lambda instant: instant.year > 1))
def test_instants_are_equal_after_a_conversion_to_milliseconds_and_back(instant: datetime) -> None:
    converted = to_instant(to_milliseconds(instant))
    assert timedelta(0) <= instant - converted < timedelta(milliseconds=1)


def test_milliseconds_do_not_depend_on_the_zone() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    assert to_milliseconds(datetime(2026, 1, 1, 5, 30, tzinfo=zone)) == to_milliseconds(
        datetime(2026, 1, 1, tzinfo=UTC)
    )
