"""Finds configs: pages of the list, and the configs that a bulk request selects."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.configs.bulk_schemas import MAX_ITEMS, BulkSelection, Selector
from admin_api.configs.market_status import with_markets
from admin_api.configs.schemas import Config
from admin_api.http.errors import BulkRolledBack
from admin_api.http.input_types import FilterText, QueryInteger
from admin_api.http.pagination import Listing, Page, PageQuery, page_of
from admin_api.writes.transactions import reading
from store.tables import configs

_SORT_COLUMNS: Final = ("symbol", "exchange", "created_at", "updated_at")
CONFIGS: Final = Listing(
    name="configs",
    shown=list(configs.c),
    orders={"id": (configs.c.id,), **{name: (configs.c[name], configs.c.id) for name in _SORT_COLUMNS}},
)

_timeframes: Final = sa.func.array_to_string(configs.c.timeframes, " ")
_SEARCHED: Final = sa.func.lower(
    sa.func.concat_ws(" ", configs.c.symbol, configs.c.exchange, _timeframes, configs.c.description)
)


class ConfigFilters(PageQuery):
    """The query parameters of the list of configs."""

    enabled: bool | None = None
    exchange: FilterText | None = Field(default=None, examples=["binance"])
    symbol: FilterText | None = Field(default=None, examples=["BTC/USDT"])
    q: FilterText | None = Field(
        default=None,
        description="Words, each of which must occur in the symbol, the exchange, a timeframe or the description. "
        "Upper and lower case are equal.",
        examples=["btc kraken"],
    )
    limit: QueryInteger = Field(default=100, ge=1, le=100)
    sort: Literal[
        "id", "-id", "symbol", "-symbol", "exchange", "-exchange",
        "created_at", "-created_at", "updated_at", "-updated_at",
    ] = Field(default="id", description="A minus reverses the order. Equal values are ordered by id.")  # fmt: skip

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """The filters as SQL conditions."""
        equal = ("exchange", "symbol")
        matches = [configs.c[name] == value for name in equal if (value := getattr(self, name)) is not None]
        if self.enabled is not None:
            matches.insert(0, configs.c.enabled.is_(self.enabled))
        matches += [sa.func.strpos(_SEARCHED, sa.func.lower(word)) > 0 for word in (self.q or "").split()]
        return matches


async def page_of_configs(engine: AsyncEngine, filters: ConfigFilters) -> Page[Config]:
    """One page of the list. Raises `InvalidInput`."""
    async with reading(engine) as connection:
        page = (await page_of(connection, CONFIGS, filters, filters.conditions())).map(Config.model_validate)
        return Page(await with_markets(connection, page.rows), page.total, page.next_cursor)


@dataclass(frozen=True)
class SelectedConfigs:
    """The selected configs, in the order of the selector.

    For an id without a config, `entries` contains the id itself.
    """

    entries: Sequence[Config | int]

    @property
    def found(self) -> list[Config]:
        return [each for each in self.entries if isinstance(each, Config)]

    @property
    def all_found(self) -> bool:
        return len(self.found) == len(self.entries)


async def select_configs(connection: AsyncConnection, selection: BulkSelection) -> SelectedConfigs:
    """Selects the configs and locks them in the order of ids, so that concurrent requests cannot deadlock."""
    selector = selection.select
    query = sa.select(configs).where(*config_conditions(selector)).order_by(configs.c.id).limit(MAX_ITEMS + 1)
    if not selection.dry_run:
        query = query.with_for_update()
    rows = [Config.model_validate(row) for row in (await connection.execute(query)).all()]
    if len(rows) > MAX_ITEMS:
        count = await connection.scalar(
            sa.select(sa.func.count()).select_from(configs).where(*config_conditions(selector))
        )
        # Not `InvalidInput`: the same request is valid if fewer configs match.
        raise BulkRolledBack(
            f"The request selects {count} configs, and at most {MAX_ITEMS} can be changed at once; select fewer."
        )
    if selector.ids is None:
        return SelectedConfigs(rows)
    by_id = {config.id: config for config in rows}
    return SelectedConfigs([by_id.get(config_id, config_id) for config_id in selector.ids])


def config_conditions(selector: Selector) -> Iterable[sa.ColumnElement[bool]]:
    """The selector as SQL conditions on the table of configs."""
    if selector.ids is not None:
        yield configs.c.id.in_(selector.ids)
    if selector.exchange is not None:
        yield configs.c.exchange == selector.exchange
    if selector.enabled is not None:
        yield configs.c.enabled.is_(selector.enabled)
    if selector.symbol is not None:
        parts = [part.replace("/", "//").replace("%", "/%").replace("_", "/_") for part in selector.symbol.split("*")]
        yield configs.c.symbol.like("%".join(parts), escape="/")
