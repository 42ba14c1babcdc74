"""The SQL of completeness: the numbers of periods of every series in a range, from its daily counts.

All time from the first to the last verified instant of a series is verified, except for the periods that `series_days`
counts. So the numbers are computed from four times and a sum per series, and not from its spans. A test compares them
with `GET /coverage`.

Instants are in milliseconds since the epoch.
"""

# ruff: noqa: S608 -- constants

from dataclasses import dataclass
from typing import Final

_UNIT: Final = "right(timeframe, 1)"
_ODD: Final = """
CASE WHEN timeframe = ANY(:odd_timeframes) THEN (
  SELECT odd.length FROM unnest(CAST(:odd_exchanges AS text[]), CAST(:odd_timeframes AS text[]),
                                CAST(:odd_lengths AS bigint[])) AS odd (exchange, timeframe, length)
  WHERE (odd.exchange, odd.timeframe) = (known.exchange, known.timeframe)
) END"""
"""The real length of candles, for exchanges and timeframes for which it differs from the name of the timeframe."""
_FIXED_MS: Final = f"""
coalesce({_ODD}, left(timeframe, -1)::bigint * CASE {_UNIT} WHEN 's' THEN 1000 WHEN 'm' THEN 60000
  WHEN 'h' THEN 3600000 WHEN 'd' THEN 86400000 WHEN 'w' THEN 604800000 END)"""
_MONTHS: Final = f"left(timeframe, -1)::bigint * CASE {_UNIT} WHEN 'M' THEN 1 ELSE 12 END"
_USUAL_ANCHOR: Final = f"CASE {_UNIT} WHEN 'w' THEN 345600000 ELSE 0 END"
"""The anchor of a series without any known time: weeks begin on Monday, and other periods at midnight UTC."""


def _ms(instant: str) -> str:
    return f"(date_part('epoch', {instant}) * 1000)::bigint"


def _utc(milliseconds: str) -> str:
    return f"(timestamp '1970-01-01' + {milliseconds} * interval '1 millisecond')"


def _month(moment: str) -> str:
    return f"(date_part('year', {moment}) * 12 + date_part('month', {moment}) - 1)::bigint"


def _number(instant: str) -> str:
    """SQL for the number of the period that contains the instant. Period 0 contains the epoch, or is the period after
    it. `+ length` and `- 1` are necessary because `/` rounds towards zero.
    """
    calendar = f"(({_month(_utc(f'({instant} - month_offset)'))} - phase) / months)"
    return f"CASE WHEN length IS NULL THEN {calendar} ELSE ({instant} - phase + length) / length - 1 END"


def edge(number: str) -> str:
    """The start of the period of this number, as an SQL expression over the columns of `numbered`."""
    month = f"({number} * months + phase)"
    start = f"make_timestamptz(({month} / 12)::int, ({month} % 12)::int + 1, 1, 0, 0, 0, 'UTC')"
    return f"CASE WHEN length IS NULL THEN {_ms(start)} + month_offset ELSE {number} * length + phase END"


_CLIPPED: Final = "verified * tstzmultirange(tstzrange(:first, :last))"
# An earlier release may have stored times that Python cannot represent.
_MONTH_OF_ANCHOR: Final = f"date_trunc('month', {_utc('(anchor + 86400000)')})"
_FIRST_MONTH: Final = f"coalesce({_ms(_MONTH_OF_ANCHOR)}, 0)"

_KNOWN: Final = f"""
SELECT exchange, symbol, timeframe, config_id, series.id AS series_id,
       verified IS NOT NULL AND counts.series_id IS NULL AS is_not_counted,
       verified IS NULL AND first_absence IS NULL AS is_unknown,
       CASE WHEN last_open >= :last THEN (
         SELECT max(open_time) FROM candles WHERE candles.series_id = series.id AND open_time < :last
       ) ELSE last_open END AS last_open,
       CASE WHEN first_open < :first THEN :first ELSE first_open END AS first_open,
       CASE WHEN lower(verified) < :first THEN lower({_CLIPPED}) ELSE lower(verified) END AS verified_from,
       CASE WHEN upper(verified) > :last THEN upper({_CLIPPED}) ELSE upper(verified) END AS verified_until,
       first_absence, answered_until, listed_at, enabled, frozen_at, counts.unverified AS all_unverified,
       counts.whole AS all_whole, counts.answered AS all_answered,
       CASE WHEN start_date LIKE '____-__-__' THEN (start_date || ' 00:00Z')::timestamptz END AS wanted_from
FROM (SELECT * FROM series WHERE {{matches}}) AS series
{{join}} (
  SELECT config_timeframes.*, enabled, start_date
  FROM config_timeframes JOIN data_collection_configs AS config ON config.id = config_id
  WHERE {{configured}}
) AS configured USING (exchange, symbol, timeframe)
LEFT JOIN (
  SELECT exchange, symbol, frozen_at FROM markets WHERE frozen_at IS NOT NULL
) AS frozen USING (exchange, symbol)
LEFT JOIN coverage ON coverage.series_id = series.id
LEFT JOIN series_counts AS counts ON counts.series_id = series.id
"""

_SETTLED: Final = "least(CAST(:settled AS timestamptz), frozen_at)"
"""The end of the target. For a market that is no longer traded, it does not grow. `least` ignores null."""

_TIMED: Final = f"""
SELECT known.*, {_FIXED_MS} AS length,
       {_ms("coalesce(last_open, verified_from, first_absence)")} AS anchor,
       {_ms("verified_from")} AS hull_from, {_ms("verified_until")} AS hull_until,
       {_ms("coalesce(listed_at, least(first_open, verified_from, first_absence, wanted_from))")} AS known_from,
       {_ms(f"greatest(verified_until, answered_until, CASE WHEN enabled THEN {_SETTLED} END)")} AS known_until
FROM known
"""

_PHASED: Final = f"""
SELECT timed.*, months, CASE WHEN length IS NULL THEN {_month(_utc("first_month"))} % months
                     ELSE coalesce(anchor, {_USUAL_ANCHOR}) % length END AS phase,
       greatest(0, anchor - first_month) AS month_offset
FROM timed, LATERAL (
  SELECT CASE WHEN length IS NULL THEN {_FIRST_MONTH} END AS first_month,
         CASE WHEN length IS NULL THEN {_MONTHS} END AS months
) AS calendar
"""

_NUMBERED: Final = f"""
SELECT ranged.*, CASE WHEN known_from IS NOT NULL AND NOT is_not_counted
                      THEN {_number("(greatest(known_from, range_from, 0) - 1)")} + 1 END AS first_period,
       least({_number("known_until")}, CASE WHEN known_until > range_until THEN {_number("(range_until - 1)")} + 1 END)
         AS end_period,
       {_number("(hull_from - 1)")} + 1 AS first_of_hull, {_number("hull_until")} AS end_of_hull
FROM ranged
"""

_COUNTED: Final = f"""
SELECT numbered.*, greatest(0, end_period - first_period) AS closed,
       CASE WHEN hull_from IS NULL OR is_not_counted THEN 0
            ELSE greatest(0, least(end_period, end_of_hull) - greatest(first_period, first_of_hull)) END AS inside,
       CASE WHEN first_period < end_period THEN {edge("first_period")} END AS starts_at,
       CASE WHEN first_period < end_period THEN {edge("end_period")} END AS ends_at
FROM numbered
"""

_ALL_DAYS: Final = """
SELECT phased.*, CAST(:start AS bigint) AS range_from, CAST(:end AS bigint) AS range_until,
       all_unverified AS unverified, all_whole AS whole, all_answered AS answered
FROM phased
"""

_SOME_DAYS: Final = """
SELECT phased.*, CAST(:start AS bigint) AS range_from, CAST(:end AS bigint) AS range_until, unverified, whole, answered
FROM phased LEFT JOIN (
  SELECT series_id, sum(unverified) AS unverified, sum(whole) AS whole, sum(answered) AS answered
  FROM series_days
  WHERE day >= CAST(:start_day AS date) AND day < CAST(:end_day AS date){of_series} GROUP BY series_id
) AS days USING (series_id)
"""

ONLY_KNOWN: Final = " AND series_id IN (SELECT series_id FROM known)"
"""Without this condition, Postgres would add up the days of all series, even for a request about one series."""

# If an instance of the previous release changes a ledger, the ledger's counts may be too high until they are
# corrected. So this query limits them.
_TOTALS: Final = """
SELECT {key} count(*) AS series, count(*) FILTER (WHERE is_not_counted) AS series_not_counted,
       count(*) FILTER (WHERE is_unknown) AS series_without_answers,
       'epoch'::timestamptz + min(starts_at) * interval '1 millisecond' AS start,
       'epoch'::timestamptz + max(ends_at) * interval '1 millisecond' AS end,
       coalesce(sum(closed), 0)::bigint AS closed_periods,
       coalesce(sum(verified), 0)::bigint AS verified_periods,
       coalesce(sum(least(closed, verified + coalesce(whole, 0))), 0)::bigint AS whole_periods,
       coalesce(sum(least(closed, verified + coalesce(answered, 0))), 0)::bigint AS answered_periods
FROM (SELECT *, greatest(0, inside - coalesce(unverified, 0)) AS verified FROM counted) AS of_series
{where}
{group}
LIMIT :limit
"""


_CONFIG: Final = ("config_id",)


@dataclass(frozen=True)
class Shape:
    """The parts of the SQL statement that differ between requests. All are constants."""

    filters: tuple[str, ...] = ()
    """The columns of a series that must be equal to the parameter of the same name."""
    of_config: bool = False
    """Whether only series of the configs in the array parameter `config_id` are counted."""
    some_days: bool = False
    """Whether only the days between the parameters `start_day` and `end_day` are counted."""
    key: tuple[str, ...] = ()
    """The columns by which series are grouped. If empty, there is one row for all series."""
    continued: bool = False
    """Whether only groups after the parameters `after_0`, `after_1` and so on are returned."""
    on_page: bool = False
    """Whether only the groups in the parameters `group_0`, `group_1` and so on are returned. Each parameter is an array
    for one column of the key.
    """

    @property
    def is_restricted(self) -> bool:
        """Whether the statement is limited to some series."""
        return bool(self.filters) or self.of_config or (self.on_page and bool(self.key))

    def conditions(self, table: str) -> str:
        """The condition on the columns of series in a table."""
        found = ["true", *(f"{table}.{name} = :{name}" for name in self.filters)]
        if self.on_page and self.key and self.key != _CONFIG:
            columns = ", ".join(f"{table}.{name}" for name in self.key)
            arrays = ", ".join(f"CAST(:group_{index} AS text[])" for index in range(len(self.key)))
            found.append(f"({columns}) IN (SELECT * FROM unnest({arrays}))")
        return " AND ".join(found)

    def config_conditions(self) -> str:
        """The condition on the columns of `config_timeframes`."""
        found = [self.conditions("config_timeframes")]
        if self.of_config:
            found.append("config_id = ANY(CAST(:config_id AS bigint[]))")
        if self.on_page and self.key == _CONFIG:
            found.append("config_id = ANY(CAST(:group_0 AS bigint[]))")
        return " AND ".join(found)

    @property
    def only_configured(self) -> bool:
        """Whether series without a config are left out."""
        return self.of_config or self.key == _CONFIG


def statement(shape: Shape) -> str:
    """The SQL statement for the numbers of the groups. It returns at most `limit` groups, ascending by key. Without a
    key, it returns one row with the total.
    """
    key = ", ".join(shape.key)
    after = f"({key}) > ({', '.join(f':after_{index}' for index in range(len(shape.key)))})"
    conditions = [*(f"{name} IS NOT NULL" for name in shape.key), *([after] if shape.continued else ())]
    totals = _TOTALS.format(
        key=f"{key}," if key else "",
        where=f"WHERE {' AND '.join(conditions)}" if conditions else "",
        group=f"GROUP BY {key} ORDER BY {key}" if key else "",
    )
    return f"{numbered(shape)}, counted AS ({_COUNTED}) {totals}"


def numbered(shape: Shape) -> str:
    """The WITH clause with the tables from `known` to `numbered`. The table `numbered` has one row for each series."""
    some_days = _SOME_DAYS.format(of_series=ONLY_KNOWN if shape.is_restricted else "")
    parts = {
        "known": _KNOWN.format(
            matches=shape.conditions("series"),
            configured=shape.config_conditions(),
            join="RIGHT JOIN" if shape.only_configured else "FULL JOIN",
        ),
        "timed": _TIMED,
        "phased": _PHASED,
        "ranged": some_days if shape.some_days else _ALL_DAYS,
        "numbered": _NUMBERED,
    }
    # OFFSET 0: otherwise Postgres inserts the expressions of each table into those of the next one, again and again.
    return "WITH " + ", ".join(f"{name} AS ({text} OFFSET 0)" for name, text in parts.items())
