"""Updates the daily counts of series in the transaction that changes their ledger.

The days of changed time are counted again from the ledger, so order and repetition of events do not matter.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from candle_writer.days import DayCounts, PartOfLedger, Stretch, changes, count_days, days_of, range_of, sum_of
from contracts.bounds import END_OF_INSTANTS, END_OF_MILLISECONDS, FIRST_INSTANT
from contracts.coverage import ANSWERED_CLASSES, WHOLE_CLASSES, AbsenceClass, names_of, to_instant, to_milliseconds
from contracts.spans import Interval, union
from store.periods import PeriodGrid

ALL_TIME: Final[Interval] = (0, END_OF_MILLISECONDS)
"""Counts all days of a series again."""

MISSING: Final = """
coalesce((SELECT sum(upper(hole) - lower(hole)) FROM unnest(tstzmultirange(range_merge(known)) - known) AS hole),
         interval '0') + absent.answered"""
"""The time in open holes and in absences of a final class, but not before a proved listing."""
ABSENT: Final = f"""
SELECT listed_at, min(starts_at) AS first_absence,
       max(ends_at) FILTER (WHERE absence_class = ANY($3)) AS answered_until,
       coalesce(sum(ends_at - starts_at) FILTER (
         WHERE absence_class = ANY($3) AND (listed_at IS NULL OR starts_at >= listed_at)
       ), interval '0') AS answered
FROM (
  SELECT (SELECT CASE WHEN absence_class = '{AbsenceClass.BEFORE_LISTING.value}'
                        AND (verified IS NULL OR starts_at < lower(verified)) THEN ends_at END
          FROM absences WHERE absences.series_id = series.id ORDER BY starts_at LIMIT 1) AS listed_at
) AS listing LEFT JOIN absences ON absences.series_id = series.id GROUP BY listed_at"""  # noqa: S608 -- constants
"""The absent time of a series, by kind. A listing is proved if the first absence is `before_listing` and nothing is
verified before it.
"""

_STATE: Final = f"""
SELECT series.id, exchange, timeframe,
       CASE WHEN last_open < $2 THEN last_open ELSE (
         SELECT max(open_time) FROM candles WHERE series_id = series.id AND open_time < $2
       ) END AS last_open,
       lower(known) AS verified_from, upper(known) AS verified_until,
       CASE WHEN absent.first_absence < $1 THEN $1 ELSE absent.first_absence END AS first_absence,
       CASE WHEN absent.answered_until > $2 THEN $2 ELSE absent.answered_until END AS answered_until,
       {MISSING} AS missing,
       absent.listed_at, counts.anchor, counts.unverified, counts.whole, counts.answered,
       (counts.first_absence, counts.answered_until, counts.missing, counts.listed_at) AS others
FROM series LEFT JOIN coverage ON coverage.series_id = series.id
  LEFT JOIN series_counts AS counts ON counts.series_id = series.id,
  LATERAL (SELECT verified * tstzmultirange(tstzrange($1, $2)) AS known) AS clipped,
  LATERAL ({ABSENT}
  ) AS absent
WHERE series.id = ANY($4::int[]) ORDER BY series.id
"""  # noqa: S608 -- constants
# An earlier release may have stored times that Python cannot represent.

_VERIFIED: Final = """
SELECT series_id, lower(span) AS start, upper(span) AS until
FROM unnest($1::int[], $2::timestamptz[], $3::timestamptz[]) AS counted (series_id, start, until)
JOIN coverage USING (series_id), unnest(verified * tstzmultirange(tstzrange(start, until))) AS span
"""

_ABSENT: Final = """
SELECT series_id, greatest(starts_at, start) AS start, least(ends_at, until) AS until, absence_class = ANY($5) AS whole
FROM unnest($1::int[], $2::timestamptz[], $3::timestamptz[], $6::timestamptz[])
  AS counted (series_id, start, until, listed_at)
JOIN absences USING (series_id)
WHERE absence_class = ANY($4) AND starts_at < until AND ends_at > start
  AND (listed_at IS NULL OR starts_at >= listed_at)
"""

_STORED: Final = """
SELECT series_id, days.day, unverified, whole, answered
FROM unnest($1::int[], $2::date[], $3::date[]) AS counted (series_id, first_day, last_day)
JOIN series_days AS days USING (series_id) WHERE days.day BETWEEN first_day AND last_day
"""

_REMOVE: Final = """
DELETE FROM series_days USING unnest($1::int[], $2::date[]) AS removed (series_id, day)
WHERE series_days.series_id = removed.series_id AND series_days.day = removed.day
"""

_WRITE: Final = """
INSERT INTO series_days (series_id, day, unverified, whole, answered)
SELECT series_id, first_day + number, unverified, whole, answered
FROM unnest($1::int[], $2::date[], $3::date[], $4::int[], $5::int[], $6::int[])
  AS stretches (series_id, first_day, end_day, unverified, whole, answered),
  generate_series(0, end_day - first_day - 1) AS number
ON CONFLICT (series_id, day) DO UPDATE SET
  unverified = excluded.unverified, whole = excluded.whole, answered = excluded.answered
"""

_WRITE_SUMS: Final = """
INSERT INTO series_counts
  (series_id, anchor, first_absence, answered_until, missing, listed_at, unverified, whole, answered)
SELECT * FROM unnest($1::int[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::interval[],
                     $6::timestamptz[], $7::bigint[], $8::bigint[], $9::bigint[])
ON CONFLICT (series_id) DO UPDATE SET
  anchor = excluded.anchor, first_absence = excluded.first_absence, answered_until = excluded.answered_until,
  missing = excluded.missing, listed_at = excluded.listed_at, unverified = excluded.unverified,
  whole = excluded.whole, answered = excluded.answered
"""

ANSWERED: Final = names_of(ANSWERED_CLASSES)
_WHOLE: Final = names_of(WHOLE_CLASSES)


class _Task(NamedTuple):
    """The days of one series that are to be counted."""

    state: Mapping[str, Any]
    """A row of `_STATE`."""
    grid: PeriodGrid
    all_days: bool
    first: date
    last: date

    @property
    def window(self) -> tuple[datetime, datetime]:
        """The time of the periods of these days."""
        start, end = range_of(self.first, self.last, self.grid)
        return max(to_instant(start), FIRST_INSTANT), min(to_instant(end), END_OF_INSTANTS)


async def write_days(connection: Any, changed: Mapping[int, Interval]) -> None:
    """Count the days of each series whose ledger changed in the given time, in milliseconds since the epoch.

    The time includes the gap between the changed spans and the verified spans before the change. `connection` is
    asyncpg's, in a transaction that has locked the series and has changed the ledger.
    """
    states = await connection.fetch(_STATE, FIRST_INSTANT, END_OF_INSTANTS, ANSWERED, list(changed))
    tasks = {state["id"]: _task(state, changed[state["id"]]) for state in states}
    parts = await _parts_of_ledger(connection, tasks)
    stored = await _stored_days(connection, tasks)
    removed: list[tuple[int, date]] = []
    written: list[tuple[Any, ...]] = []
    sums: list[tuple[Any, ...]] = []
    for series, task in tasks.items():
        counted = count_days(parts[series], task.first, task.last, task.grid)
        gone, differing, difference = changes(stored.get(series, {}), counted)
        removed += [(series, day) for day in gone]
        written += [(series, stretch.first, stretch.end, *stretch.counts) for stretch in differing]
        sums += _changed_sums(series, task, counted, difference)
    for statement, rows in ((_REMOVE, removed), (_WRITE, written), (_WRITE_SUMS, sums)):
        if rows:
            await connection.execute(statement, *zip(*rows, strict=True))


def _task(state: Mapping[str, Any], changed: Interval) -> _Task:
    """The days to count. These are all days if the series was never counted, if its periods now open at other times, or
    if another listing is proved now.
    """
    grid, before = _grid(state), None
    if state["anchor"] is not None:
        before = PeriodGrid.of_series(state["exchange"], state["timeframe"], to_milliseconds(state["anchor"]))
    *_, listed_before = state["others"]
    has_other_listing = listed_before != state["listed_at"]
    all_days = changed == ALL_TIME or before is None or before.phase != grid.phase or has_other_listing
    return _Task(state, grid, all_days, *days_of(ALL_TIME if all_days else changed, grid))


def _grid(state: Mapping[str, Any]) -> PeriodGrid:
    """The grid of the series. As in `GET /coverage`, it contains the newest candle."""
    anchor = state["last_open"] or state["verified_from"] or state["first_absence"]
    milliseconds = None if anchor is None else to_milliseconds(anchor)
    return PeriodGrid.of_series(state["exchange"], state["timeframe"], milliseconds)


async def _parts_of_ledger(connection: Any, tasks: Mapping[int, _Task]) -> dict[int, PartOfLedger]:
    windows = [(series, *task.window) for series, task in tasks.items() if task.window[0] < task.window[1]]
    verified: dict[int, list[Interval]] = defaultdict(list)
    whole: dict[int, list[Interval]] = defaultdict(list)
    answered: dict[int, list[Interval]] = defaultdict(list)
    if windows:
        columns = list(zip(*windows, strict=True))
        for row in await connection.fetch(_VERIFIED, *columns):
            verified[row["series_id"]].append(_interval(row["start"], row["until"]))
        listed = [tasks[series].state["listed_at"] for series, *_ in windows]
        for row in await connection.fetch(_ABSENT, *columns, ANSWERED, _WHOLE, listed):
            for spans in (answered, whole) if row["whole"] else (answered,):
                spans[row["series_id"]].append(_interval(row["start"], row["until"]))
    return {
        series: PartOfLedger(_hull(task.state), *(union(spans[series]) for spans in (verified, whole, answered)))
        for series, task in tasks.items()
    }


def _hull(state: Mapping[str, Any]) -> Interval | None:
    return None if state["verified_from"] is None else _interval(state["verified_from"], state["verified_until"])


def _interval(start: datetime, until: datetime) -> Interval:
    return to_milliseconds(start), to_milliseconds(until)


async def _stored_days(connection: Any, tasks: Mapping[int, _Task]) -> dict[int, dict[date, DayCounts]]:
    stored: dict[int, dict[date, DayCounts]] = defaultdict(dict)
    ranges = [(series, task.first, task.last) for series, task in tasks.items()]
    if ranges:
        for series, day, *counts in await connection.fetch(_STORED, *zip(*ranges, strict=True)):
            stored[series][day] = DayCounts(*counts)
    return stored


def _changed_sums(
    series: int, task: _Task, counted: Sequence[Stretch], difference: DayCounts
) -> Iterable[tuple[Any, ...]]:
    """The row of `series_counts`, if it differs from the stored one."""
    state = task.state
    before = None if state["anchor"] is None else DayCounts(state["unverified"], state["whole"], state["answered"])
    counts = sum_of(counted) if task.all_days or before is None else before.plus(difference)
    anchor = to_instant(task.grid.anchor) if task.all_days or before is None else state["anchor"]
    others = (state["first_absence"], state["answered_until"], state["missing"], state["listed_at"])
    if (anchor, counts, others) != (state["anchor"], before, tuple(state["others"])):
        yield series, anchor, *others, *counts
