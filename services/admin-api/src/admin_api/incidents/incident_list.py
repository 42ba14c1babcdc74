"""The list of incidents of an exchange."""

from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.dialects.postgresql import TSTZRANGE, Range
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.http.cursors import MAX_LENGTH, InvalidCursor, decode, encode, fingerprint
from admin_api.http.errors import FieldError, InvalidInput
from admin_api.http.input_types import FilterText, Input, QueryInstant, QueryInteger
from admin_api.incidents.grouping import EXAMPLES, FEWEST_SYMBOLS, SILENT_CLASSES, Grouped, Silence, incidents_in
from admin_api.incidents.other_exchanges import OtherExchange, OtherExchanges, other_exchanges_of
from admin_api.writes.transactions import reading
from contracts.coverage import AbsenceClass, names_of

LONGEST_RANGE: Final = timedelta(days=1100)
MAX_SILENCES: Final = 20_000
"""The largest number of different absences on one page."""

_DEFAULT_RANGE: Final = timedelta(days=30)


class IncidentFilters(Input):
    """The query parameters of the list of incidents. Unknown parameters are refused."""

    exchange: FilterText = Field(examples=["binance"])
    timeframe: FilterText = Field(default="1m", description="The series of this timeframe are compared.")
    start: QueryInstant | None = Field(
        default=None, description="Only time from here on. If it is left out, 30 days before the end."
    )
    end: QueryInstant | None = Field(default=None, description="Only time before this. If it is left out, up to now.")
    min_symbols: QueryInteger = Field(
        default=FEWEST_SYMBOLS,
        ge=FEWEST_SYMBOLS,
        le=100_000,
        description="Only incidents in which at least this number of symbols was silent. Raise it for an exchange "
        "with quiet symbols.",
    )
    limit: QueryInteger = Field(default=100, ge=1, le=1000, description="The maximum number of stretches to read.")
    cursor: str | None = Field(
        default=None,
        max_length=MAX_LENGTH,
        description='The start of the page, from the Link header (rel="next") of the previous page. The other '
        "parameters except `limit` must stay the same.",
    )


class IncidentPiece(BaseModel):
    """A part of an incident with one class."""

    model_config = ConfigDict(from_attributes=True)

    start: datetime
    end: datetime
    absence_class: AbsenceClass = Field(
        description="`outage`: a witness says that the exchange was closed. `lost_at_source`: a witness shows that it "
        "traded. `unknown`: no witness."
    )
    level: int = Field(description="The level of the evidence.")
    proof: list[dict[str, Any]] = Field(description="The requests and answers of the witness.")


class Incident(BaseModel):
    """A stretch in which no symbol of the exchange has a candle."""

    exchange: str
    timeframe: str
    start: datetime = Field(description="The first silent instant in the requested range.")
    end: datetime = Field(description="The first instant after the silence, or the end of the range.")
    symbols: int = Field(description="The largest number of symbols that were silent at the same time.")
    examples: list[str] = Field(description=f"At most {EXAMPLES} of these symbols.")
    absence_class: AbsenceClass = Field(description="The class of all pieces; `unknown` if they differ.")
    pieces: list[IncidentPiece] = Field(description="The parts of the incident, ascending.")
    other_exchanges: list[OtherExchange] = Field(
        description="The other exchanges that traded some of these symbols meanwhile, from their stored candles of the "
        "timeframe, by name. So these pairs were not quiet everywhere. This proves no class: other exchanges trade "
        "during an outage and while candles are lost. An exchange whose candles are not stored is never here."
    )
    other_exchanges_truncated: bool = Field(
        description="True: not all symbols and candles of the other exchanges were compared, because there are too "
        "many or it took too long. So there may be more. A smaller `limit` or a shorter range compares more of them."
    )


_STRETCHES: Final = sa.text(
    """
WITH known AS (
  SELECT id FROM series WHERE exchange = :exchange AND timeframe = :timeframe
), silent AS (
  SELECT coalesce(range_agg(tstzrange(starts_at, ends_at)), '{}') AS spans
  FROM known JOIN absences ON series_id = id
  WHERE absence_class = ANY(:classes) AND starts_at < :end AND ends_at > :start
), alive AS (
  SELECT coalesce(range_agg(span), '{}') AS spans
  FROM known JOIN coverage ON series_id = id, unnest(verified * tstzmultirange(tstzrange(:start, :end))) AS span
)
SELECT lower(span) AS start, upper(span) AS end
FROM silent, alive, unnest(silent.spans * tstzmultirange(tstzrange(:start, :end)) - alive.spans) AS span
ORDER BY 1 LIMIT :limit
"""
)
# Selects the silent time in which no series has a verified candle. Absences and verified spans of all series are read
# once.

_SILENCES: Final = sa.text(
    """
SELECT starts_at AS start, ends_at AS end, absence_class, level, count(*) AS symbols,
       (array_agg(symbol ORDER BY symbol))[1:20] AS examples, (array_agg(proof ORDER BY symbol))[1] AS proof
FROM (
  SELECT symbol, greatest(starts_at, :start) AS starts_at, least(ends_at, :end) AS ends_at, absence_class, level, proof
  FROM series JOIN absences ON series_id = series.id
  WHERE exchange = :exchange AND timeframe = :timeframe AND absence_class = ANY(:classes)
    AND starts_at < :end AND ends_at > :start
    AND tstzrange(starts_at, ends_at) && ANY(:stretches)
) AS touching
GROUP BY starts_at, ends_at, absence_class, level ORDER BY starts_at LIMIT :limit
"""
).bindparams(sa.bindparam("stretches", type_=sa.ARRAY(TSTZRANGE)))


async def incidents_of(
    engine: AsyncEngine, filters: IncidentFilters, now: datetime
) -> tuple[list[Incident], str | None]:
    """One page of incidents, ascending, and the cursor of the next page, if there is one. Raises `InvalidInput`.

    A page may have fewer incidents than `limit`: stretches in which too few symbols are silent are left out.
    """
    start, end = _checked_range(filters, now)
    asked = {"exchange": filters.exchange, "timeframe": filters.timeframe, "classes": names_of(SILENT_CLASSES)}
    async with reading(engine.execution_options(isolation_level="REPEATABLE READ")) as connection:
        values = asked | {"start": start, "end": end, "limit": filters.limit + 1}
        stretches = [(row.start, row.end) for row in await connection.execute(_STRETCHES, values)]
        page = stretches[: filters.limit]
        silences = await _silences(connection, asked, page) if page else []
        grouped = [each for span in page for each in incidents_in(*span, silences, filters.min_symbols)]
        others = await other_exchanges_of(connection, filters.exchange, filters.timeframe, grouped)
    found = [_incident(filters, *each) for each in zip(grouped, others, strict=True)]
    following = stretches[filters.limit :]
    return found, encode(_fingerprint(filters), [following[0][0]]) if following else None


async def _silences(
    connection: AsyncConnection, asked: dict[str, Any], stretches: list[tuple[datetime, datetime]]
) -> list[Silence]:
    """The absences that touch the stretches. Raises `InvalidInput` if there are too many of them."""
    spans = [Range(first, last) for first, last in stretches]
    bounds = {"start": stretches[0][0], "end": stretches[-1][1], "stretches": spans, "limit": MAX_SILENCES + 1}
    rows = (await connection.execute(_SILENCES, asked | bounds)).all()
    if len(rows) > MAX_SILENCES:
        message = f"the page consists of more than {MAX_SILENCES} absences; lower it or request a shorter range"
        raise InvalidInput.of([FieldError("#/limit", message, where="query")])
    return [
        Silence(
            row.start,
            row.end,
            AbsenceClass(row.absence_class),
            row.level,
            row.symbols,
            tuple(row.examples),
            row.proof or (),
        )
        for row in rows
    ]


def _incident(filters: IncidentFilters, grouped: Grouped, others: OtherExchanges) -> Incident:
    return Incident(
        exchange=filters.exchange,
        timeframe=filters.timeframe,
        start=grouped.start,
        end=grouped.end,
        symbols=grouped.symbols,
        examples=list(grouped.examples),
        absence_class=grouped.absence_class,
        pieces=[IncidentPiece.model_validate(each) for each in grouped.pieces],
        other_exchanges=others.traded,
        other_exchanges_truncated=others.truncated,
    )


def _checked_range(filters: IncidentFilters, now: datetime) -> tuple[datetime, datetime]:
    """The range of the page. Raises `InvalidInput`."""
    end = filters.end or now
    start = filters.start or end - _DEFAULT_RANGE
    if start >= end:
        raise InvalidInput.of([FieldError("#/start", "must be before end", where="query")])
    if end - start > LONGEST_RANGE:
        message = f"the range must be at most {LONGEST_RANGE.days} days long"
        raise InvalidInput.of([FieldError("#/start", message, where="query")])
    if filters.cursor is None:
        return start, end
    try:
        position: datetime = decode(filters.cursor, _fingerprint(filters), (datetime,))[0]
    except InvalidCursor as error:
        raise InvalidInput.of([FieldError("#/cursor", str(error), where="query")]) from error
    if not start <= position < end:
        raise InvalidInput.of([FieldError("#/cursor", "is not within the range", where="query")])
    return position, end


def _fingerprint(filters: IncidentFilters) -> str:
    query = filters.model_dump(mode="json", exclude={"limit", "cursor"}, exclude_none=True)
    return fingerprint(of_list="incidents", query=query)
