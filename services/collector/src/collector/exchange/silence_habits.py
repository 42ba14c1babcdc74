"""Learns from the answers of an exchange whether it sends rows for time without trades. Pure.

A row without volume between rows with volume shows that the exchange sends candles for silence. If rows are missing
there, the exchange leaves out silence or has lost candles. So missing rows alone do not prove the habit; a document is
also needed.
"""

from collections.abc import Sequence
from itertools import dropwhile, pairwise
from typing import Any, Final, NamedTuple

from contracts.coverage import SETTLE_TIME
from contracts.exchange_catalogue import MarketKind
from contracts.timeframes import close_of

_SETTLE_MS: Final = int(SETTLE_TIME.total_seconds() * 1000)
_VOLUME: Final = 5


class Habit(NamedTuple):
    """The number of answers of each kind, for one kind of market and one timeframe."""

    filled: int = 0
    """Answers with a row without volume."""
    left_out: int = 0
    """Answers in which rows are missing and no row is without volume."""


def leaves_out_silence(documented_to_fill: bool | None, habit: Habit) -> bool:
    """Whether missing rows can mean that there was no trade: a document says so, and no answer contradicts it."""
    return documented_to_fill is False and not habit.filled


class SilenceHabits:
    """The habits of one exchange in this process."""

    def __init__(self) -> None:
        self._habits: dict[tuple[MarketKind | None, str], Habit] = {}

    def of(self, kind: MarketKind | None, timeframe: str) -> Habit:
        return self._habits.get((kind, timeframe), Habit())

    def add(self, kind: MarketKind | None, timeframe: str, rows: Sequence[Sequence[Any]], now: int) -> None:
        """Learn from an answer of ccxt. `now`: the exchange's time in milliseconds."""
        habit = self.of(kind, timeframe)
        if habit.filled and habit.left_out:
            return  # both kinds of answers are known, so more answers change nothing
        filled, left_out = habit_of_page(timeframe, rows, now)
        if filled or left_out:
            self._habits[kind, timeframe] = Habit(habit.filled + filled, habit.left_out + left_out)


def habit_of_page(timeframe: str, rows: Sequence[Sequence[Any]], now: int) -> Habit:
    """The habit that one answer shows.

    Young rows do not count, because exchanges send the candles of quiet minutes late. Rows before the first and after
    the last row with volume do not count, because exchanges invent rows there.
    """
    settled = sorted((row[0], row[_VOLUME] > 0) for row in rows if _is_row(row) and 0 <= row[0] < now - _SETTLE_MS)
    between = list(dropwhile(_has_no_volume, reversed(list(dropwhile(_has_no_volume, settled)))))
    if not all(has_volume for _, has_volume in between):
        return Habit(filled=1)
    is_missing = any(close_of(timeframe, earlier) < later for (later, _), (earlier, _) in pairwise(between))
    return Habit(left_out=1) if is_missing else Habit()


def _has_no_volume(row: tuple[int, bool]) -> bool:
    return not row[1]


def _is_row(row: Sequence[Any]) -> bool:
    return (
        isinstance(row, list | tuple)
        and len(row) > _VOLUME
        and type(row[0]) is int
        and type(row[_VOLUME]) in {int, float}
    )
