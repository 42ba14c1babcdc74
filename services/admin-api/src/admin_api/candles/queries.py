"""Reads the candles of one series in a time range, for JSON or CSV. candle-writer writes them."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

import sqlalchemy as sa
from pydantic import Field, TypeAdapter
from sqlalchemy.ext.asyncio import AsyncEngine
from typing_extensions import TypedDict

from admin_api.candles.series_lookup import SeriesName, find_series
from admin_api.http.errors import FieldError, InvalidInput
from admin_api.http.input_types import QueryInstant, QueryInteger
from admin_api.writes.transactions import reading
from contracts.bounds import END_OF_INSTANTS, FIRST_INSTANT
from contracts.vocabulary import CandleSource
from store.tables import candles


class CandleRow(TypedDict):
    """One closed candle."""

    open_time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    fetched_at: datetime
    trades: Annotated[int | None, Field(description="The number of trades. Null if the exchange does not send it.")]
    quote_volume: Annotated[
        float | None, Field(description="The volume in the quote currency. Null if the exchange does not send it.")
    ]
    source: Annotated[
        Literal["exchange", "trades"],
        Field(
            description="`exchange`: the exchange's own candle. `trades`: built from all trades of its period, by a "
            "backfill with `source: trades`."
        ),
    ]


_columns: Final = tuple(CandleRow.__annotations__)
_selected: Final = [
    sa.func.coalesce(candles.c.source, CandleSource.EXCHANGE.value).label(name) if name == "source" else candles.c[name]
    for name in _columns
]
_rows = TypeAdapter(list[CandleRow])


class CandleQuery(SeriesName):
    """The query parameters of candles. Unknown parameters are refused."""

    start: QueryInstant | None = Field(
        default=None,
        description="Only open times at or after this time; UTC if it has no time zone. "
        "If it is left out, the newest candles.",
    )
    end: QueryInstant | None = Field(
        default=None, description="Only open times before this time.", examples=["2025-01-16T10:00:00Z"]
    )
    limit: QueryInteger = Field(
        default=1000, ge=1, le=10_000, description="The maximum number of candles. They are always in ascending order."
    )
    format: Literal["json", "csv"] | None = Field(default=None, description="Takes precedence over the Accept header.")


async def read_candles(engine: AsyncEngine, query: CandleQuery) -> list[CandleRow]:
    """The candles in ascending order of open time: from `start` on, or the newest candles if `start` is not given.

    Raises `InvalidInput`, and `NotFound` for a series that no config collects and that has no candles.
    """
    if query.start is not None and query.end is not None and query.start >= query.end:
        raise InvalidInput.of([FieldError("#/start", "must be before end", where="query")])
    async with reading(engine) as connection:
        series_id = await find_series(connection, query)
        if series_id is None:
            return []
        # An earlier release may have stored candles at times that Python cannot represent.
        start, end = (
            max(query.start or FIRST_INSTANT, FIRST_INSTANT),
            min(query.end or END_OF_INSTANTS, END_OF_INSTANTS),
        )
        statement = sa.select(*_selected).where(
            candles.c.series_id == series_id, candles.c.open_time >= start, candles.c.open_time < end
        )
        order = candles.c.open_time.desc() if query.start is None else candles.c.open_time.asc()
        found = (await connection.execute(statement.order_by(order).limit(query.limit))).all()
    ascending: Iterable[sa.Row[tuple[object, ...]]] = reversed(found) if query.start is None else found
    return [CandleRow(**row._mapping) for row in ascending]  # type: ignore[typeddict-item]  # noqa: SLF001 -- SQLAlchemy's public name


def to_json(rows: list[CandleRow]) -> bytes:
    """Serializes all rows at once; a response model would take ten times as long for ten thousand rows."""
    return _rows.dump_json(rows)


def to_csv(rows: Sequence[CandleRow]) -> str:
    """A header line, then one line per candle. Times are in ISO 8601, numbers in their shortest exact form."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_columns)
    for row in rows:
        writer.writerow(_iso(value) if isinstance(value, datetime) else value for value in row.values())
    return text.getvalue()


def _iso(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")
