"""Finds a series by its three names."""

from typing import Any, Final

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from admin_api.http.errors import NotFound
from admin_api.http.input_types import FilterText, Input
from store.tables import config_timeframes, series

_MAX_SUGGESTIONS: Final = 20


class SeriesName(Input):
    """The query parameters that name one series. Unknown parameters are refused."""

    exchange: FilterText = Field(examples=["binance"])
    symbol: FilterText = Field(examples=["BTC/USDT"])
    timeframe: FilterText = Field(examples=["1m"])


async def find_series(connection: AsyncConnection, name: SeriesName) -> int | None:
    """The id of the series. None for a series that a config collects but about which nothing is known yet.

    Raises `NotFound` if nothing is known and no config collects the series, because its name probably contains a typing
    error.
    """
    series_id: int | None = await connection.scalar(sa.select(series.c.id).where(*_identity(series.c, name)))
    if series_id is None:
        await _require_collected(connection, name)
    return series_id


def _identity(table: ReadOnlyColumnCollection[str, sa.Column[Any]], name: SeriesName) -> list[sa.ColumnElement[bool]]:
    return [table[column] == getattr(name, column) for column in ("exchange", "symbol", "timeframe")]


async def _require_collected(connection: AsyncConnection, name: SeriesName) -> None:
    collected = sa.select(config_timeframes.c.config_id).where(*_identity(config_timeframes.c, name))
    if (await connection.execute(collected)).one_or_none() is not None:
        return
    known = sa.union(
        sa.select(series.c.exchange, series.c.symbol, series.c.timeframe),
        sa.select(config_timeframes.c.exchange, config_timeframes.c.symbol, config_timeframes.c.timeframe),
    ).subquery()
    same_symbol = sa.select(known).where(known.c.symbol == name.symbol)
    same_exchange = sa.select(known).where(known.c.exchange == name.exchange)
    ordered = (known.c.exchange, known.c.symbol, known.c.timeframe)
    similar = (await connection.execute(same_symbol.order_by(*ordered).limit(_MAX_SUGGESTIONS))).all()
    similar = similar or (await connection.execute(same_exchange.order_by(*ordered).limit(_MAX_SUGGESTIONS))).all()
    hint = (
        f"Existing series: {', '.join(' '.join(row) for row in similar)}."
        if similar
        else "Create a config that collects it."
    )
    raise NotFound(f"No candles of {name.symbol} {name.timeframe} on {name.exchange} are collected. {hint}")
