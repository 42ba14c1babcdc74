"""Keyset pagination: a cursor contains the sort keys of the last row, so an index finds any page equally fast.

For an offset (`skip`) Postgres must read all skipped rows, so it has a maximum.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import Request, Response
from pydantic import AfterValidator, Field
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles

from admin_api.http.cursors import MAX_LENGTH, InvalidCursor, decode, encode, fingerprint
from admin_api.http.errors import FieldError, InvalidInput
from admin_api.http.input_types import DIGITS, Input, QueryInteger

MAX_SKIP: Final = 100_000
MAX_EXACT_TOTAL: Final = 10_000
"""Totals up to this number are counted exactly. For larger totals, the planner's estimate is used, which costs almost
nothing.
"""

_FORCE_INDEX_SCANS: Final = sa.text(
    "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), "
    "set_config('seq_page_cost', '0', true), set_config('random_page_cost', '0', true), "
    "set_config('jit', 'off', true), set_config('plan_cache_mode', 'force_custom_plan', true)"
)


def _check_skip(skip: int) -> int:
    if skip > MAX_SKIP:
        raise ValueError(
            f"must be at most {MAX_SKIP}, because every skipped row is read; to go further, follow the Link header "
            '(rel="next"), whose `cursor` is equally fast at any depth'
        )
    return skip


class PageQuery(Input):
    """The query parameters that all lists have. The model of each list adds filters and limits `sort` and `limit`.

    Unknown parameters are errors, because a misspelt filter would otherwise return all rows.
    """

    # The maximum must come before DIGITS. Otherwise it would be missing from the OpenAPI description.
    skip: Annotated[int, Field(ge=0, json_schema_extra={"maximum": MAX_SKIP}), DIGITS, AfterValidator(_check_skip)] = 0
    limit: QueryInteger = 100
    sort: str = ""
    cursor: str | None = Field(
        default=None,
        max_length=MAX_LENGTH,
        description='The start of the page, from the Link header (rel="next") of the previous page. Filters and '
        "sorting must stay the same. Cannot be combined with `skip`.",
    )

    def filters(self) -> dict[str, Any]:
        """The parameters that determine the rows and their order, as JSON types."""
        return self.model_dump(mode="json", exclude={"skip", "limit", "cursor"}, exclude_none=True)


@dataclass(frozen=True)
class Listing:
    """The definition of a list: its columns and its sortings.

    `orders` has the columns of each sorting. They must be ascending, not null, unique together, and have an index. A
    minus before the name of a sorting reverses it.
    """

    name: str
    shown: Sequence[sa.ColumnElement[Any]]
    orders: Mapping[str, tuple[sa.Column[Any], ...]]
    force_index_scans: bool = False
    """Whether the planner may use index scans only. See the function `force_index_scans`."""

    @property
    def table(self) -> sa.FromClause:
        return next(column.table for columns in self.orders.values() for column in columns)

    def order(self, sort: str) -> "Order":
        return Order(self.orders[sort.removeprefix("-")], descending=sort.startswith("-"))


@dataclass(frozen=True)
class Order:
    """The sorting of a list."""

    columns: tuple[sa.Column[Any], ...]
    descending: bool

    @property
    def kinds(self) -> tuple[type, ...]:
        return tuple(column.type.python_type for column in self.columns)

    def by(self) -> list[sa.ColumnElement[Any]]:
        return [column.desc() if self.descending else column.asc() for column in self.columns]

    def after(self, position: Sequence[Any]) -> sa.ColumnElement[bool]:
        """The condition for the rows after `position`, as one row comparison, for which Postgres can use an index."""
        last_row = sa.tuple_(
            *(sa.literal(value, column.type) for value, column in zip(position, self.columns, strict=True))
        )
        row = sa.tuple_(*self.columns)
        return row < last_row if self.descending else row > last_row


@dataclass(frozen=True)
class Total:
    """The number of matching rows; above `MAX_EXACT_TOTAL` it is an estimate."""

    rows: int
    exact: bool


T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list, the total number of rows, and the cursor of the next page, if there is one."""

    rows: list[T]
    total: Total
    next_cursor: str | None

    def map(self, change: Callable[[T], S]) -> "Page[S]":
        return Page([change(row) for row in self.rows], self.total, self.next_cursor)


async def page_of(
    connection: AsyncConnection, listing: Listing, query: PageQuery, matches: Sequence[sa.ColumnElement[bool]]
) -> Page[sa.Row[Any]]:
    """The requested page. Call it last in a transaction, because it can change the planner's settings.

    Raises `InvalidInput` if the cursor belongs to another query.
    """
    wanted = select_page(listing, query, matches)
    if listing.force_index_scans:
        await force_index_scans(connection)
    found = (await connection.execute(wanted)).all()
    rows, more = list(found[: query.limit]), len(found) > query.limit
    if not more and query.cursor is None and (rows or not query.skip):
        return Page(rows, Total(query.skip + len(rows), exact=True), None)
    total = await _total(connection, sa.select(sa.literal(1)).select_from(listing.table).where(*matches))
    if not more:
        return Page(rows, total, None)
    last = rows[-1]._mapping  # noqa: SLF001 -- SQLAlchemy's public name
    columns = listing.order(query.sort).columns
    return Page(rows, total, encode(_query_fingerprint(listing, query), [last[column] for column in columns]))


def select_page(
    listing: Listing, query: PageQuery, matches: Sequence[sa.ColumnElement[bool]]
) -> sa.Select[tuple[Any, ...]]:
    """A query for the rows of the page and one more row, which shows if a next page exists. Raises `InvalidInput`."""
    order = listing.order(query.sort)
    page = sa.select(*listing.shown).where(*matches).order_by(*order.by()).limit(query.limit + 1)
    if query.cursor is None:
        return page.offset(query.skip)
    if query.skip:
        detail = "omit it: the cursor already gives the start of the page"
        raise InvalidInput.of([FieldError("#/skip", detail, where="query")])
    try:
        position = decode(query.cursor, _query_fingerprint(listing, query), order.kinds)
    except InvalidCursor as error:
        raise InvalidInput.of([FieldError("#/cursor", str(error), where="query")]) from error
    return page.where(order.after(position))


async def force_index_scans(connection: AsyncConnection) -> None:
    """For the rest of the transaction, make the planner use the index with the fewest matching rows.

    The planner assumes that filters are independent of the time. If an exchange was removed a week ago, it still
    expects the exchange's rows everywhere and reads a million rows for one page. If the costs of pages are set to zero,
    the planner's choice depends only on the number of rows. Custom plans contain the value of `status`, which partial
    indexes need. Decision 13 has figures.
    """
    await connection.execute(_FORCE_INDEX_SCANS)


async def explain(connection: AsyncConnection, query: sa.Select[Any]) -> dict[str, Any]:
    """Postgres' plan for the query. The query is not executed."""
    plan: dict[str, Any] = (await connection.execute(_Explain(query))).scalar_one()[0]["Plan"]
    return plan


def _query_fingerprint(listing: Listing, query: PageQuery) -> str:
    return fingerprint(of_list=listing.name, query=query.filters())


async def _total(connection: AsyncConnection, matching: sa.Select[Any]) -> Total:
    limited = matching.limit(MAX_EXACT_TOTAL + 1).subquery()
    counted = await connection.scalar(sa.select(sa.func.count()).select_from(limited)) or 0
    if counted <= MAX_EXACT_TOTAL:
        return Total(counted, exact=True)
    return Total(max(int((await explain(connection, matching))["Plan Rows"]), counted), exact=False)


class _Explain(sa.sql.Executable, sa.sql.ClauseElement):
    """`EXPLAIN` as a SQLAlchemy element, with JSON output."""

    inherit_cache = False

    def __init__(self, query: sa.Select[Any]) -> None:
        self.query = query


@compiles(_Explain)
def _compile_explain(element: _Explain, compiler: Any, **options: Any) -> str:
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.query, **options)}"


LINK_HEADER: Final[dict[str, Any]] = {
    "Link": {
        "description": 'RFC 8288. `rel="first"` is the first page of this query. `rel="next"` is the next page, if '
        "there is one; it is equally fast at any depth.",
        "schema": {"type": "string"},
    },
}
PAGE_HEADERS: Final[dict[str, Any]] = {
    "X-Total-Count": {
        "description": f"The number of rows in all pages; above {MAX_EXACT_TOTAL} it is an estimate.",
        "schema": {"type": "integer"},
    },
    "X-Total-Count-Exact": {
        "description": "Whether the total was counted (`true`) or estimated (`false`).",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
} | LINK_HEADER


def send(page: Page[T], request: Request, response: Response) -> list[T]:
    """Sets the headers of the page on `response` and returns its rows."""
    response.headers["X-Total-Count"] = str(page.total.rows)
    response.headers["X-Total-Count-Exact"] = "true" if page.total.exact else "false"
    response.headers["Link"] = links(request, page.next_cursor)
    return page.rows


def links(request: Request, next_cursor: str | None) -> str:
    """The value of the header Link: the first page and, if there is one, the next page."""
    targets = {"first": _link(request)}
    if next_cursor is not None:
        targets["next"] = _link(request, cursor=next_cursor)
    return ", ".join(f'<{target}>; rel="{relation}"' for relation, target in targets.items())


def _link(request: Request, **more: str) -> str:
    """The path and query of this request, without `skip` and `cursor` and with `more` parameters.

    A relative link has no scheme and host, which would be wrong behind a proxy.
    """
    unchanged = [(name, value) for name, value in request.query_params.multi_items() if name not in {"skip", "cursor"}]
    query = urlencode([*unchanged, *more.items()])
    return f"{request.url.path}?{query}" if query else request.url.path
