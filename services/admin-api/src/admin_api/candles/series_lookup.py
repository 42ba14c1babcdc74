"""Finds a series by its three names."""

from dataclasses import dataclass
from datetime import datetime
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


@dataclass(frozen=True)
class KnownSeries:
    """A series that has candles or an entry in the ledger."""

    id: int
    first_open: datetime | None
    last_open: datetime | None


async def find_series(connection: AsyncConnection, name: SeriesName) -> KnownSeries | None:
    """None for a series that a config collects but about which nothing is known yet.

    Raises `NotFound` if nothing is known and no config collects the series, because its name probably contains a typing
    error.
    """
    columns = (series.c.id, series.c.first_open, series.c.last_open)
    found = (await connection.execute(sa.select(*columns).where(*_identity(series.c, name)))).one_or_none()
    if found is not None:
        return KnownSeries(found.id, found.first_open, found.last_open)
    await _require_collected(connection, name)
    return None


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
