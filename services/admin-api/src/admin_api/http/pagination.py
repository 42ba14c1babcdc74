"""Lists of any length, a page at a time: where a page begins is found by its sort keys in an index, so the millionth
row costs what the first does. An offset (`skip`) is counted off row by row, and so is bounded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

import sqlalchemy as sa
from pydantic import AfterValidator, Field
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles

from admin_api.http.cursors import MAX_LENGTH, UnusableCursor, decode, encode, fingerprint
from admin_api.http.errors import FieldError, InvalidInput
from admin_api.http.input_types import Input

MAX_SKIP: Final = 100_000
COUNTED_UP_TO: Final = 10_000
"""Totals up to here are exact; beyond, the planner's estimate is good enough for a person and takes no time."""

_ALONG_INDEXES: Final = sa.text(
    "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), "
    "set_config('seq_page_cost', '0', true), set_config('random_page_cost', '0', true), "
    "set_config('jit', 'off', true), set_config('plan_cache_mode', 'force_custom_plan', true)"
)


def _within_reach(skip: int) -> int:
    if skip > MAX_SKIP:
        raise ValueError(
            f"is {MAX_SKIP} at most, because skipped rows are counted off one by one; to go further, follow the Link "
            'header (rel="next"), whose `cursor` is as fast at any depth'
        )
    return skip


class PageQuery(Input):
    """What every list can be asked, beside its filters. Unknown parameters are refused: a misspelt filter must not
    answer everything. A list's own model adds its filters, and narrows `sort` and `limit`.
    """

    skip: Annotated[int, Field(ge=0, json_schema_extra={"maximum": MAX_SKIP}), AfterValidator(_within_reach)] = 0
    limit: int = 100
    sort: str = ""
    cursor: str | None = Field(
        default=None,
        max_length=MAX_LENGTH,
        description='Where the page begins: from the Link header (rel="next") of the page before, with the same '
        "filters and sorting. Instead of `skip`.",
    )

    def filters(self) -> dict[str, Any]:
        """What decides which rows are in the list and in what order, as JSON's types."""
        return self.model_dump(mode="json", exclude={"skip", "limit", "cursor"}, exclude_none=True)


@dataclass(frozen=True)
class Listing:
    """A list that can be asked for. `orders` gives the columns of each sorting: all ascending, never null, unique
    together, and carried by an index. A minus before the name turns it around.
    """

    name: str
    shown: Sequence[sa.ColumnElement[Any]]
    orders: Mapping[str, tuple[sa.Column[Any], ...]]
    along_indexes: bool = False
    """Whether the planner must be kept to the indexes: `walk_along_indexes`."""

    @property
    def table(self) -> sa.FromClause:
        return next(column.table for columns in self.orders.values() for column in columns)

    def order(self, sort: str) -> "Order":
        return Order(self.orders[sort.removeprefix("-")], descending=sort.startswith("-"))


@dataclass(frozen=True)
class Order:
    """How a list is sorted."""

    columns: tuple[sa.Column[Any], ...]
    descending: bool

    @property
    def kinds(self) -> tuple[type, ...]:
        return tuple(column.type.python_type for column in self.columns)

    def by(self) -> list[sa.ColumnElement[Any]]:
        return [column.desc() if self.descending else column.asc() for column in self.columns]

    def after(self, position: Sequence[Any]) -> sa.ColumnElement[bool]:
        """The rows behind this one. As one comparison of rows, which Postgres looks up in an index."""
        place = sa.tuple_(
            *(sa.literal(value, column.type) for value, column in zip(position, self.columns, strict=True))
        )
        here = sa.tuple_(*self.columns)
        return here < place if self.descending else here > place


@dataclass(frozen=True)
class Total:
    """How many rows match in all; an estimate beyond `COUNTED_UP_TO`."""

    rows: int
    exact: bool


T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a list, how many there are in all, and where the next page begins, if there is one."""

    rows: list[T]
    total: Total
    next_cursor: str | None

    def map(self, change: Callable[[T], S]) -> "Page[S]":
        return Page([change(row) for row in self.rows], self.total, self.next_cursor)


async def page_of(
    connection: AsyncConnection, listing: Listing, query: PageQuery, matches: Sequence[sa.ColumnElement[bool]]
) -> Page[sa.Row[Any]]:
    """The page that is asked for. It can change how the rest of the transaction is planned, so it comes last in it.

    Raises `InvalidInput` for a cursor that is not of this query.
    """
    wanted = select_page(listing, query, matches)
    if listing.along_indexes:
        await walk_along_indexes(connection)
    found = (await connection.execute(wanted)).all()
    rows, more = list(found[: query.limit]), len(found) > query.limit
    if not more and query.cursor is None and (rows or not query.skip):
        return Page(rows, Total(query.skip + len(rows), exact=True), None)
    total = await _total(connection, sa.select(sa.literal(1)).select_from(listing.table).where(*matches))
    if not more:
        return Page(rows, total, None)
    last = rows[-1]._mapping  # noqa: SLF001 -- SQLAlchemy's public name
    columns = listing.order(query.sort).columns
    return Page(rows, total, encode(_made_for(listing, query), [last[column] for column in columns]))


def select_page(
    listing: Listing, query: PageQuery, matches: Sequence[sa.ColumnElement[bool]]
) -> sa.Select[tuple[Any, ...]]:
    """The rows of the page and one more, which tells that there are more. Raises `InvalidInput`."""
    order = listing.order(query.sort)
    page = sa.select(*listing.shown).where(*matches).order_by(*order.by()).limit(query.limit + 1)
    if query.cursor is None:
        return page.offset(query.skip)
    if query.skip:
        detail = "leave it out: the cursor already says where the page begins"
        raise InvalidInput.of([FieldError("#/skip", detail, where="query")])
    try:
        position = decode(query.cursor, _made_for(listing, query), order.kinds)
    except UnusableCursor as error:
        raise InvalidInput.of([FieldError("#/cursor", str(error), where="query")]) from error
    return page.where(order.after(position))


async def walk_along_indexes(connection: AsyncConnection) -> None:
    """For the rest of the transaction, keep the planner to the index that holds the fewest matching rows.

    The planner takes filters for independent of the time. If an exchange was removed a week ago, it still expects a row
    of it among every few and filters a million rows for one page. Page costs of zero let the number of rows decide.
    Custom plans show the planner the value of `status`, without which no partial index fits. Decision 13 has figures.
    """
    await connection.execute(_ALONG_INDEXES)


async def explain(connection: AsyncConnection, query: sa.Select[Any]) -> dict[str, Any]:
    """Postgres' plan of it, which is not carried out."""
    plan: dict[str, Any] = (await connection.execute(_Explain(query))).scalar_one()[0]["Plan"]
    return plan


def _made_for(listing: Listing, query: PageQuery) -> str:
    return fingerprint(of_list=listing.name, query=query.filters())


async def _total(connection: AsyncConnection, matching: sa.Select[Any]) -> Total:
    some = matching.limit(COUNTED_UP_TO + 1).subquery()
    counted = await connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0
    if counted <= COUNTED_UP_TO:
        return Total(counted, exact=True)
    return Total(max(int((await explain(connection, matching))["Plan Rows"]), counted), exact=False)


class _Explain(sa.sql.Executable, sa.sql.ClauseElement):
    """The plan of a query, as JSON, without carrying it out."""

    inherit_cache = False

    def __init__(self, query: sa.Select[Any]) -> None:
        self.query = query


@compiles(_Explain)
def _compile_explain(element: _Explain, compiler: Any, **options: Any) -> str:
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.query, **options)}"
