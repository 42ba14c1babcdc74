"""Whether an exchange fills silence or leaves it out, as its answers show."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.exchange.silence_habits import Habit, SilenceHabits, habit_of_page, leaves_out_silence
from contracts.exchange_catalogue import MarketKind
from support.made_exchange import minute

NOW = minute(1000)


def rows(volumes: dict[int, float]) -> list[list[Any]]:
    return [[minute(at), 1.0, 1.0, 1.0, 1.0, volume] for at, volume in volumes.items()]


@pytest.mark.parametrize(
    ("volumes", "expected"),
    [
        ({}, Habit()),
        ({1: 1, 2: 1}, Habit()),
        ({1: 1, 2: 0, 3: 1}, Habit(filled=1)),
        ({1: 1, 3: 1}, Habit(left_out=1)),
        ({1: 1, 2: 0, 3: 1, 5: 1}, Habit(filled=1)),
        ({1: 1, 2: 1, 3: 0, 4: 0}, Habit()),
        ({0: 0, 1: 0, 2: 1, 3: 1}, Habit()),
        ({3: 1, 2: 0, 1: 1}, Habit(filled=1)),
        ({994: 1, 995: 0, 996: 1}, Habit()),
        ({980: 1, 989: 1, 996: 1}, Habit(left_out=1)),
    ],
)
def test_an_answer_shows_the_habit_between_rows_with_volume(volumes: dict[int, float], expected: Habit) -> None:
    assert habit_of_page("1m", rows(volumes), NOW) == expected


def test_rows_that_are_no_candles_show_nothing() -> None:
    broken: list[Any] = [None, [], [minute(2), 1, 1, 1, 1, None], ["x", 1, 1, 1, 1, 0], *rows({1: 1, 2: 1})]
    assert habit_of_page("1m", broken, NOW) == Habit()


@pytest.mark.parametrize("opens", [-1, -(10**18), 10**18, 10**30])
@pytest.mark.parametrize("timeframe", ["1m", "1M"])
def test_a_row_of_an_impossible_time_shows_nothing_and_is_no_error(timeframe: str, opens: int) -> None:
    answer = [[opens, 1.0, 1.0, 1.0, 1.0, 1.0], *rows({1: 1})]
    assert habit_of_page(timeframe, answer, NOW) == Habit()


def test_habits_are_kept_per_kind_and_timeframe() -> None:
    habits = SilenceHabits()
    habits.add(MarketKind.SPOT, "1m", rows({1: 1, 3: 1}), NOW)
    habits.add(MarketKind.SPOT, "1m", rows({1: 1, 3: 1}), NOW)
    assert habits.of(MarketKind.SPOT, "1m") == Habit(0, 2)
    assert habits.of(MarketKind.LINEAR, "1m") == habits.of(MarketKind.SPOT, "5m") == Habit()
    habits.add(MarketKind.SPOT, "1m", rows({1: 1, 2: 0, 3: 1}), NOW)
    assert habits.of(MarketKind.SPOT, "1m") == Habit(1, 2)


def test_a_single_row_without_volume_refutes_the_document() -> None:
    assert leaves_out_silence(False, Habit(left_out=5))
    assert not leaves_out_silence(False, Habit(filled=1, left_out=5))
    assert not leaves_out_silence(None, Habit(left_out=1000)), "lost candles look the same"
    assert not leaves_out_silence(True, Habit(left_out=1000))


@given(
    traded=st.sets(st.integers(0, 60)),
    fills=st.booleans(),
    lost=st.sets(st.integers(0, 60)),
    ends=st.tuples(st.integers(0, 5), st.integers(0, 5)),
)
def test_no_history_makes_an_exchange_that_leaves_out_look_like_one_that_fills(
    traded: set[int], fills: bool, lost: set[int], ends: tuple[int, int]
) -> None:
    """Rows at both ends can be invented, and candles can be lost."""
    shown = dict.fromkeys(traded - lost, 1.0)
    if fills:
        shown |= {at: 0.0 for at in range(61) if at not in traded}
    first, last = min(traded - lost, default=0), max(traded - lost, default=0)
    invented = dict.fromkeys((*range(first - ends[0], first), *range(last + 1, last + 1 + ends[1])), 0.0)
    habit = habit_of_page("1m", rows(invented | shown), NOW)
    has_silence = bool(set(range(first, last)) - traded)
    assert bool(habit.filled) is (fills and has_silence)
