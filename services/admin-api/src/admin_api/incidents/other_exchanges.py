"""The other exchanges that traded the silent symbols of an incident in its time, from their stored candles.

This never changes the class of an incident: other exchanges trade during an outage and while candles are lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.incidents.grouping import SILENT_CLASSES, Grouped
from contracts.coverage import names_of
from contracts.exchange_catalogue import load_catalogue
from contracts.timeframes import parse_timeframe

MAX_COMPARISONS: Final = 20_000
"""The number of comparisons of one page: one series of another exchange with the silence of one incident."""

_QUERY_CANCELED: Final = "57014"

LIMIT_SECONDS: Final = 5
"""The time of the query. After it, the list of incidents is answered without other exchanges."""

MAX_CANDLES: Final = 200_000
"""The number of candles that the comparisons of one page read, if there are fewer comparisons than this."""


class OtherExchange(BaseModel):
    """Another exchange that traded symbols of an incident while they were silent."""

    exchange: str = Field(examples=["okx"])
    symbols: int = Field(description="The number of silent symbols that it traded. Symbols must be equal.")
    candles: int = Field(description="The number of their stored candles with volume within the silence.")
    first_open_time: datetime = Field(description="The open time of the earliest of these candles.")
    last_open_time: datetime = Field(description="The open time of the latest of these candles.")


@dataclass
class OtherExchanges:
    """The other exchanges of one incident, by name."""

    traded: list[OtherExchange] = field(default_factory=list)
    truncated: bool = False
    """A limit was reached, so there may be more exchanges, symbols and candles."""


# A candle counts if all of it is within the silence of the same symbol. The months of some exchanges begin some hours
# before those of UTC; the added day makes their length correct.
TRADED: Final = """
WITH incident AS (
  SELECT * FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
    WITH ORDINALITY AS incident (start, until, number)
), shared AS (
  SELECT own.id AS own_id, other.id AS other_id, other.exchange, count(*) OVER () AS known
  FROM series AS own JOIN series AS other USING (symbol, timeframe)
  WHERE own.exchange = :exchange AND own.timeframe = :timeframe AND other.exchange <> ALL(:left_out)
    AND other.first_open < :end AND other.last_open >= :start
  ORDER BY row_number() OVER (PARTITION BY other.exchange ORDER BY other.candle_count DESC, other.id), other.exchange
  LIMIT :comparisons
), share AS (
  SELECT greatest(1, :candles / greatest(1, count(*) * (SELECT count(*) FROM incident))) AS candles FROM shared
)
SELECT number, shared.exchange, count(*) FILTER (WHERE traded.candles > 0) AS symbols, sum(traded.candles) AS candles,
       min(first_open) AS first_open_time, max(last_open) AS last_open_time,
       bool_or(traded.candles_read > share.candles OR shared.known > :comparisons) AS truncated
FROM incident CROSS JOIN shared CROSS JOIN share CROSS JOIN LATERAL (
  SELECT count(*) AS candles_read, count(*) FILTER (WHERE volume > 0) AS candles,
         min(open_time) FILTER (WHERE volume > 0) AS first_open, max(open_time) FILTER (WHERE volume > 0) AS last_open
  FROM (
    SELECT candle.open_time, candle.volume
    FROM absences, LATERAL (
      SELECT open_time, volume FROM candles
      WHERE series_id = shared.other_id
        AND open_time >= greatest(starts_at, incident.start) AND open_time < least(ends_at, incident.until)
        AND ((open_time + interval '1 day') AT TIME ZONE 'UTC' + make_interval(months => :months, secs => :seconds))
            AT TIME ZONE 'UTC' - interval '1 day' <= least(ends_at, incident.until)
      ORDER BY open_time LIMIT share.candles + 1
    ) AS candle
    WHERE absences.series_id = shared.own_id AND absence_class = ANY(:classes)
      AND starts_at < incident.until AND ends_at > incident.start
      AND starts_at >= coalesce(
        (SELECT max(starts_at) FROM absences WHERE series_id = shared.own_id AND starts_at <= incident.start),
        incident.start
      )
    LIMIT share.candles + 1
  ) AS candle
) AS traded
GROUP BY number, shared.exchange
ORDER BY number, shared.exchange
"""
# The series with the most candles are compared first. Each comparison has the same share of the candles, so that a long
# incident does not use up those of the others. Absences of a series do not overlap: the first one that can touch an
# incident is the last one that starts before it.


_PLANNING: Final = """
SELECT set_config('jit', 'off', true), set_config('plan_cache_mode', 'force_custom_plan', true),
       set_config('statement_timeout', :limit, true)
"""
# Compiling the query would take longer than the query itself. A plan for all parameters does not know their number.


async def other_exchanges_of(
    connection: AsyncConnection, exchange: str, timeframe: str, incidents: Sequence[Grouped]
) -> list[OtherExchanges]:
    """The other exchanges of each incident, in the order of the incidents. One query.

    `connection`: the transaction in which the absences of the incidents were read. No other query should follow in it.
    """
    found = [OtherExchanges() for _ in incidents]
    if not incidents:
        return found
    await connection.execute(sa.text(_PLANNING), {"limit": f"{LIMIT_SECONDS}s"})
    try:
        async with connection.begin_nested():
            rows = (await connection.execute(sa.text(TRADED), parameters_of(exchange, timeframe, incidents))).all()
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _QUERY_CANCELED:
            raise
        return [OtherExchanges(truncated=True) for _ in incidents]
    for row in rows:
        others = found[row.number - 1]
        others.truncated |= row.truncated
        if row.symbols:
            others.traded.append(OtherExchange.model_validate(row, from_attributes=True))
    return found


def parameters_of(exchange: str, timeframe: str, incidents: Sequence[Grouped]) -> Mapping[str, Any]:
    """The values for the query."""
    length = parse_timeframe(timeframe)
    odd = [name for name, entry in load_catalogue().exchanges.items() if timeframe in entry.candle_lengths]
    return {
        "exchange": exchange,
        "timeframe": timeframe,
        # Candles that are longer or shorter than their timeframe says cannot be compared.
        "left_out": [exchange, *odd],
        "starts": [each.start for each in incidents],
        "ends": [each.end for each in incidents],
        "start": incidents[0].start,
        "end": incidents[-1].end,
        "months": length.months or 0,
        "seconds": (length.fixed_ms or 0) / 1000,
        "classes": names_of(SILENT_CLASSES),
        "comparisons": max(1, MAX_COMPARISONS // len(incidents)),
        "candles": MAX_CANDLES,
    }
