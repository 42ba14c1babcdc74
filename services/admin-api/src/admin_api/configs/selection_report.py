"""The number of configs in a selection, and their exchanges and timeframes, for a form that selects by a pattern."""

import sqlalchemy as sa
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.configs.bulk_schemas import Selector
from admin_api.configs.queries import config_conditions
from admin_api.http.input_types import FilterText, Input
from admin_api.writes.transactions import reading
from contracts.timeframes import timeframe_order
from store.tables import configs


class SelectionQuery(Input):
    """Unknown parameters are refused."""

    exchange: FilterText | None = Field(default=None, examples=["binance"])
    symbol: FilterText = Field(default="*", description="A symbol; `*` matches any characters.", examples=["*/USDT"])
    enabled: bool | None = None


class ConfigSelection(BaseModel):
    """The configs that match."""

    configs: int
    exchanges: list[str] = Field(description="In order of name.")
    timeframes: list[str] = Field(description="Those that at least one of the configs collects, the shortest first.")


async def selection_of(engine: AsyncEngine, query: SelectionQuery) -> ConfigSelection:
    matches = list(config_conditions(Selector(**query.model_dump())))
    names = sa.func.array_agg(configs.c.exchange.distinct(), type_=sa.ARRAY(sa.Text))
    timeframes = sa.select(sa.func.unnest(configs.c.timeframes)).where(*matches).distinct()
    async with reading(engine) as connection:
        count, exchanges = (await connection.execute(sa.select(sa.func.count(), names).where(*matches))).one()
        collected = (await connection.scalars(timeframes)).all()
    return ConfigSelection(
        configs=count,
        exchanges=sorted(exchanges or ()),
        timeframes=sorted(collected, key=timeframe_order),
    )
