"""The list of configs: its filters and its query."""

from typing import Final, Literal

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.configs.schemas import Config
from admin_api.http.input_types import FilterText
from admin_api.http.pagination import Listing, Page, PageQuery, page_of
from admin_api.writes.transactions import reading
from store.tables import configs

_SORT_COLUMNS: Final = ("symbol", "exchange", "created_at", "updated_at")
CONFIGS: Final = Listing(
    name="configs",
    shown=list(configs.c),
    orders={"id": (configs.c.id,), **{name: (configs.c[name], configs.c.id) for name in _SORT_COLUMNS}},
)


class ConfigFilters(PageQuery):
    """The query parameters of the list of configs."""

    enabled: bool | None = None
    exchange: FilterText | None = Field(default=None, examples=["binance"])
    symbol: FilterText | None = Field(default=None, examples=["BTC/USDT"])
    limit: int = Field(default=100, ge=1, le=100)
    sort: Literal[
        "id", "-id", "symbol", "-symbol", "exchange", "-exchange",
        "created_at", "-created_at", "updated_at", "-updated_at",
    ] = Field(default="id", description="A minus reverses the order. Equal values are ordered by id.")  # fmt: skip

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """The filters as SQL conditions."""
        equal = ("exchange", "symbol")
        matches = [configs.c[name] == value for name in equal if (value := getattr(self, name)) is not None]
        return matches if self.enabled is None else [configs.c.enabled.is_(self.enabled), *matches]


async def page_of_configs(engine: AsyncEngine, filters: ConfigFilters) -> Page[Config]:
    """One page of the list. Raises `InvalidInput`."""
    async with reading(engine) as connection:
        return (await page_of(connection, CONFIGS, filters, filters.conditions())).map(Config.model_validate)
