"""The SQL of completeness by day: sums over the series of each group.

`completeness_days` explains the meaning of the sums.
"""

from typing import Final

from admin_api.coverage.completeness_sql import Shape, edge, numbered

_GRID: Final = "length, months, phase, month_offset"

_OF_SERIES: Final = """
SELECT {key} series_id, length, months, phase, month_offset, first_period, end_period,
       CASE WHEN first_of_hull IS NOT NULL THEN greatest(first_period, first_of_hull) END AS first_of_part,
       least(end_period, end_of_hull) AS end_of_part
FROM numbered WHERE first_period < end_period
"""

_EVENTS: Final = """
SELECT {key} '{kind}' AS kind, ({opens} / 86400000)::int AS day, {grid},
       count(*) AS one, sum({period})::bigint AS two, NULL::bigint AS three
FROM of_series {where}
GROUP BY {key} day, {grid}
"""
_PARTLY_VERIFIED: Final = "WHERE first_of_part < end_of_part"

_MISSING: Final = """
SELECT {key} 'missing' AS kind, days.day - DATE '1970-01-01' AS day, NULL, NULL, NULL, NULL,
       sum(unverified)::bigint, sum(whole)::bigint, sum(answered)::bigint
FROM of_series JOIN series_days AS days USING (series_id)
WHERE days.day >= CAST(:start_day AS date) AND days.day < CAST(:end_day AS date)
GROUP BY {key} days.day
"""


def days_statement(shape: Shape) -> str:
    """The sums of the groups on a page.

    Each row has the columns of the key, the kind, the day since the epoch, the grid, and three numbers.
    """
    key = "".join(f"{name}, " for name in shape.key)
    events = [
        ("first", "first_period", edge("first_period"), ""),
        ("end", "end_period", edge("(end_period - 1)"), ""),
        ("first_of_hull", "first_of_part", edge("first_of_part"), _PARTLY_VERIFIED),
        ("end_of_hull", "end_of_part", edge("(end_of_part - 1)"), _PARTLY_VERIFIED),
    ]
    parts = [
        _EVENTS.format(key=key, kind=kind, opens=f"({opens})", grid=_GRID, period=period, where=where)
        for kind, period, opens, where in events
    ]
    of_series = _OF_SERIES.format(key=key)
    union = " UNION ALL ".join([*parts, _MISSING.format(key=key)])
    return f"{numbered(shape)}, of_series AS MATERIALIZED ({of_series}) {union}"
