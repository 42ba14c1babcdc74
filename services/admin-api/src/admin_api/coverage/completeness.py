"""Completeness: the shares of periods that are whole and answered, for groups of series, in total and by day."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.coverage.completeness_days import DayNumbers, Group, Sums, numbers_by_day, sums_of
from admin_api.coverage.completeness_days_sql import days_statement
from admin_api.coverage.completeness_schemas import Completeness, CompletenessQuery, DayCompleteness, GroupBy
from admin_api.coverage.completeness_sql import Shape, statement
from admin_api.http.cursors import InvalidCursor, decode, encode, fingerprint
from admin_api.http.errors import FieldError, InvalidInput, NotFound
from admin_api.writes.transactions import reading
from contracts.bounds import END_OF_INSTANTS, FIRST_INSTANT
from contracts.coverage import SETTLE_TIME, to_milliseconds
from contracts.exchange_catalogue import load_catalogue

_KEYS: Final[Mapping[GroupBy, tuple[str, ...]]] = {
    GroupBy.TOTAL: (),
    GroupBy.EXCHANGE: ("exchange",),
    GroupBy.CONFIG: ("config_id",),
    GroupBy.SERIES: ("exchange", "symbol", "timeframe"),
}
_FIRST_DAY: Final = FIRST_INSTANT.date()
_END_OF_DAYS: Final = END_OF_INSTANTS.date()
_FILTERS: Final = ("exchange", "symbol", "timeframe")
MAX_DAYS: Final = 366
"""The largest number of days in one request by day."""
_DAYS_PER_PAGE: Final = 10_000
"""The largest number of days on a page, added over all rows."""
_NO_SUMS: Final = Sums({}, {}, {})


async def completeness_of(
    engine: AsyncEngine, query: CompletenessQuery, now: datetime
) -> tuple[list[Completeness], str | None]:
    """One page of groups, and the cursor of the next page, if there is one.

    If no series matches, a list of groups is empty, and a total raises `NotFound`. Raises `InvalidInput`.
    """
    cursors = fingerprint(of_list="completeness", query=query.filters())
    query = _with_end(query, now)
    key, position = _KEYS[query.group_by], _checked_position(query, cursors)
    shape = Shape(
        filters=tuple(name for name in _FILTERS if getattr(query, name) is not None),
        of_config=query.config_id is not None,
        some_days=query.start is not None or query.end is not None,
        key=key,
        continued=position is not None,
    )
    values = parameters_of(query, now)
    limit = _page_size(query)
    after = {f"after_{index}": value for index, value in enumerate(position or ())}
    async with reading(engine) as connection:
        # both queries read the same snapshot
        await connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        # Postgres would need more time for this than for the query
        await connection.execute(sa.text("SET LOCAL jit = off"))
        rows = (await connection.execute(sa.text(statement(shape)), values | after | {"limit": limit + 1})).all()
        page = rows[:limit]
        days = await _days(connection, query, shape, values, page) if query.per_day else {}
    if query.group_by is GroupBy.TOTAL and query.has_filters and not any(row.series for row in rows):
        raise NotFound("No series matches these filters. `GET /series` and `GET /configs` list what is collected.")
    following = None
    if len(rows) > len(page):
        following = encode(cursors, _group(page[-1], key))
    return [_completeness(row, days.get(_group(row, key))) for row in page], following


async def _days(
    connection: AsyncConnection, query: CompletenessQuery, shape: Shape, values: Mapping[str, Any], page: Sequence[Any]
) -> dict[Group, list[DayNumbers]]:
    """The numbers of each day of the groups on the page."""
    columns = zip(*(_group(row, shape.key) for row in page), strict=True)
    groups = {f"group_{index}": list(column) for index, column in enumerate(columns)}
    shape = replace(shape, on_page=True)
    found = (await connection.execute(sa.text(days_statement(shape)), {**values, **groups})).all() if page else []
    sums = sums_of(found, len(shape.key))
    first, end = _range_of(query)
    return {
        group: numbers_by_day(sums.get(group, _NO_SUMS), first, end)
        for group in (_group(row, shape.key) for row in page)
    }


def _group(row: sa.Row[Any], key: Sequence[str]) -> Group:
    return tuple(getattr(row, name) for name in key)


def _with_end(query: CompletenessQuery, now: datetime) -> CompletenessQuery:
    """The query with an end. If no end is requested, the days end with today."""
    if not query.per_day or query.end is not None:
        return query
    return query.model_copy(update={"end": now.date() + timedelta(days=1)})


def _range_of(query: CompletenessQuery) -> tuple[date, date]:
    return max(query.start or _FIRST_DAY, _FIRST_DAY), min(query.end or _END_OF_DAYS, _END_OF_DAYS)


def _page_size(query: CompletenessQuery) -> int:
    """The number of rows of a page. Raises `InvalidInput` if the days of one row are too many."""
    if not query.per_day:
        return query.limit
    first, end = _range_of(query)
    if query.start is None or (end - first).days > MAX_DAYS:
        problem = f"must be given with per_day, and at most {MAX_DAYS} days before end (or today)"
        raise InvalidInput.of([FieldError("#/start", problem, where="query")])
    return min(query.limit, max(1, _DAYS_PER_PAGE // max(1, (end - first).days)))


def parameters_of(query: CompletenessQuery, now: datetime) -> dict[str, Any]:
    """The values for the parameters of the statements, except those that depend on the page."""
    start, end = _range_of(query)
    odd = [
        (exchange, timeframe, length)
        for exchange, entry in load_catalogue().exchanges.items()
        for timeframe, length in entry.candle_lengths.items()
    ]
    exchanges, timeframes, lengths = zip(*odd, strict=True) if odd else ((), (), ())
    filters = {name: getattr(query, name) for name in (*_FILTERS, "config_id")}
    return {name: value for name, value in filters.items() if value is not None} | {
        "first": FIRST_INSTANT,
        "last": END_OF_INSTANTS,
        "settled": now - SETTLE_TIME,
        "start": to_milliseconds(_midnight(start)),
        "end": to_milliseconds(_midnight(end)),
        **({"start_day": start, "end_day": end} if query.start or query.end else {}),
        "odd_exchanges": list(exchanges),
        "odd_timeframes": list(timeframes),
        "odd_lengths": list(lengths),
    }


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _checked_position(query: CompletenessQuery, cursors: str) -> tuple[Any, ...] | None:
    """The key of the last group of the page before; None for the first page. Raises `InvalidInput`."""
    if query.start is not None and query.end is not None and query.start >= query.end:
        raise InvalidInput.of([FieldError("#/start", "must be before end", where="query")])
    if query.cursor is None:
        return None
    kinds = [int if name == "config_id" else str for name in _KEYS[query.group_by]]
    try:
        return decode(query.cursor, cursors, kinds)
    except InvalidCursor as error:
        raise InvalidInput.of([FieldError("#/cursor", str(error), where="query")]) from error


def _completeness(row: sa.Row[Any], days: Sequence[DayNumbers] | None) -> Completeness:
    values = dict(row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name
    for name in ("whole", "answered"):
        part, closed = values[f"{name}_periods"], values["closed_periods"]
        values[name] = part / closed if closed else None
        values[f"{name}_percent"] = percent(part, closed)
    values["days"] = None if days is None else [_day(each) for each in days]
    return Completeness.model_validate(values)


def _day(numbers: DayNumbers) -> DayCompleteness:
    day, closed, verified, whole, answered = numbers
    return DayCompleteness(
        day=day,
        closed_periods=closed,
        verified_periods=verified,
        whole_periods=whole,
        answered_periods=answered,
        whole=whole / closed,
        answered=answered / closed,
    )


def percent(part: int, of: int) -> float | None:
    """A percentage with two decimals, rounded down: 100 means all. None if the total is zero."""
    return part * 10_000 // of / 100 if of else None
