"""Reads the missing time of series in a range from the ledger."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.backfills.estimates import FinalAbsence, Target
from admin_api.backfills.schemas import Mode, Source
from contracts.coverage import AbsenceClass, to_milliseconds
from contracts.pages import EARLIEST
from contracts.trade_pages import RATE_CANDLES
from store.missing_time import VERIFIED_SPANS, is_final, missing_time, target_bounds

_WANTED: Final = """
WITH wanted AS (
  SELECT * FROM unnest(CAST(:exchanges AS text[]), CAST(:symbols AS text[]), CAST(:timeframes AS text[]))
    WITH ORDINALITY AS w (exchange, symbol, timeframe, number)
)
"""

_TARGET: Final = target_bounds(
    "CAST(:start AS timestamptz)",
    "CAST(:end AS timestamptz)",
    verified="verified",
    now="CAST(:now AS timestamptz)",
)
_MISSING: Final = missing_time(
    "tstzrange(target_start, target_end)",
    series_id="targets.series_id",
    verified="verified",
    reread="CAST(:reread AS boolean)",
    from_trades="CAST(:from_trades AS boolean)",
    backfill_id="CAST(:backfill_id AS bigint)",
    now="CAST(:now AS timestamptz)",
)

_TARGETS: Final = sa.text(f"""{_WANTED}
, known AS (
  SELECT wanted.*, series.id AS series_id, {VERIFIED_SPANS} AS verified
  FROM wanted LEFT JOIN series USING (exchange, symbol, timeframe) LEFT JOIN coverage ON coverage.series_id = series.id
), targets AS (
  SELECT known.*, {_TARGET.start} AS target_start, {_TARGET.end} AS target_end FROM known
), compared AS (
  SELECT targets.*, {_MISSING} AS missing FROM targets WHERE target_start < target_end
)
SELECT number, target_start, target_end, lower(verified) AS verified_from,
       (SELECT array_agg(lower(hole) ORDER BY hole) FROM unnest(missing) AS hole) AS starts,
       (SELECT array_agg(upper(hole) ORDER BY hole) FROM unnest(missing) AS hole) AS ends
FROM compared
""")  # noqa: S608 -- constants

_IS_FINAL: Final = is_final(now="CAST(:now AS timestamptz)", from_trades="CAST(:from_trades AS boolean)")

_ABSENCES: Final = sa.text(f"""{_WANTED}
SELECT number, absence_class, evidence, greatest(starts_at, first) AS starts_at,
       least(ends_at, CAST(:end AS timestamptz)) AS ends_at
FROM wanted JOIN series USING (exchange, symbol, timeframe) JOIN absences ON absences.series_id = series.id
  CROSS JOIN greatest(CAST(:start AS timestamptz), CAST(:earliest AS timestamptz)) AS first
WHERE {_IS_FINAL} AND ends_at > first
  AND starts_at < CAST(:end AS timestamptz)
ORDER BY number, absences.starts_at
""")  # noqa: S608 -- constants


_TRADE_RATES: Final = sa.text(f"""{_WANTED}
SELECT number, (SELECT avg(trades) FROM (
  SELECT trades FROM candles WHERE candles.series_id = series.id ORDER BY open_time DESC LIMIT :most
) AS newest) AS trades
FROM wanted JOIN series USING (exchange, symbol, timeframe)
""")  # noqa: S608 -- constants


class SeriesNames(NamedTuple):
    """A series of a backfill."""

    exchange: str
    symbol: str
    timeframe: str
    config_id: int


@dataclass(frozen=True)
class WantedRange:
    """The range of a backfill."""

    start: datetime | None
    """The start of the range. None if it begins with the listing of each market."""
    end: datetime
    mode: Mode
    source: Source = "candles"
    backfill_id: int | None = None
    """The backfill. None if it does not exist yet."""


async def read_targets(
    connection: AsyncConnection, series: Sequence[SeriesNames], wanted: WantedRange, now: datetime
) -> list[Target]:
    """One target per series, in order."""
    from_trades = wanted.source == "trades"
    values: dict[str, Any] = {
        "exchanges": [each.exchange for each in series],
        "symbols": [each.symbol for each in series],
        "timeframes": [each.timeframe for each in series],
        "from_trades": from_trades,
        "start": wanted.start,
        "end": wanted.end,
        "earliest": EARLIEST,
        "now": now,
    }
    absences: dict[int, list[FinalAbsence]] = defaultdict(list)
    for row in (await connection.execute(_ABSENCES, values)).all():
        span = to_milliseconds(row.starts_at), to_milliseconds(row.ends_at)
        absences[row.number].append(FinalAbsence(AbsenceClass(row.absence_class).value, row.evidence, span))
    more = {"reread": wanted.mode == "all", "backfill_id": wanted.backfill_id}
    found = {row.number: row for row in (await connection.execute(_TARGETS, values | more)).all()}
    rates: dict[int, float] = {}
    if from_trades:
        rows = (await connection.execute(_TRADE_RATES, values | {"most": RATE_CANDLES})).all()
        rates = {row.number: float(row.trades) for row in rows if row.trades is not None}
    targets = [_target(each, found.get(number), absences[number]) for number, each in enumerate(series, 1)]
    return [
        replace(each, from_trades=from_trades, trades_per_candle=rates.get(number))
        for number, each in enumerate(targets, 1)
    ]


def _target(series: SeriesNames, row: sa.Row[Any] | None, absences: Sequence[FinalAbsence]) -> Target:
    names = (series.exchange, series.symbol, series.timeframe)
    if row is None:
        return Target(*names, None)
    holes = zip(row.starts or (), row.ends or (), strict=True)
    return Target(
        *names,
        span=(to_milliseconds(row.target_start), to_milliseconds(row.target_end)),
        missing=tuple((to_milliseconds(start), to_milliseconds(end)) for start, end in holes),
        verified_from=None if row.verified_from is None else to_milliseconds(row.verified_from),
        absences=tuple(absences),
    )
