"""The consequences of a config, which are shown before it is created: its request rate, its history, and the candles
that the exchange no longer offers.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.backfills.estimates import estimate
from admin_api.backfills.schemas import Estimate
from admin_api.backfills.targets import SeriesNames, WantedRange, read_targets
from admin_api.configs.bulk import creation_errors
from admin_api.configs.claims import claim_holders
from admin_api.configs.schemas import NewConfig, warnings_about
from admin_api.http.exchange_catalogue import Catalogue, loss_warnings
from admin_api.http.input_types import LISTING, Input, RowId
from admin_api.writes.transactions import reading
from contracts.coverage import to_instant, to_milliseconds
from contracts.exchange_catalogue import CandleRequest, load_catalogue, market_kind
from contracts.pages import horizon_of
from contracts.timeframes import parse_timeframe
from store.tables import configs, series

_MINUTE_MS: Final = 60_000
_LONGEST: Final = timedelta(days=36_500)


class PreflightQuery(Input):
    """Unknown parameters are refused."""

    config_id: RowId | None = Field(
        default=None,
        description="The config to change. Its own timeframes are not taken, and its own runs do not count as those of "
        "others. Without it, the body is a config to create.",
    )


class PreflightSeries(BaseModel):
    """One timeframe of the config."""

    timeframe: str
    first_candle: datetime | None = Field(
        description="The open time of the first stored candle. Null: none is stored, so the listing is not known yet."
    )
    newest_readable: int | None = Field(
        description="The exchange sends only this many newest candles; null: no limit is known."
    )
    horizon: datetime | None = Field(description="The oldest candle that can be read now; null: no limit is known.")
    loses_between_runs: bool = Field(description="The interval is longer than the time that these candles span.")


class Budget(BaseModel):
    """The rate limit of the exchange and its use by scheduled runs, in weight per minute."""

    limit: float | None = Field(description="Null: the rate limit of the exchange is unknown.")
    other_configs: float = Field(description="The use by the enabled configs of the exchange.")
    this_config: float
    share_after: float | None = Field(
        description="The share of the limit that all of them use together. More than 1: runs will be late."
    )


class Preflight(BaseModel):
    """The consequences of creating this config."""

    series: list[PreflightSeries]
    requests_per_minute: float = Field(description="By the scheduled runs, on average.")
    budget: Budget
    history: Estimate | None = Field(
        description="The cost of the history from `start_date` on, and the candles that are lost already. Null without "
        "a start date."
    )
    whole_at: datetime | None = Field(
        description="When the history can be whole at the earliest, beside all scheduled runs. Null: unknown, no "
        "`start_date`, or the scheduled runs leave nothing of the rate limit."
    )
    warnings: list[str]


async def preflight(
    engine: AsyncEngine, catalogue: Catalogue, wanted: NewConfig, now: datetime, *, config_id: int | None = None
) -> Preflight:
    """`config_id` is the config to change, None for a new one. Raises the same errors as the creation: `InvalidInput`,
    `TimeframesTaken`.
    """
    names = [SeriesNames(wanted.exchange, wanted.symbol, each, 0) for each in wanted.timeframes]
    history = None
    async with reading(engine) as connection:
        claims = await claim_holders(connection, {(wanted.exchange, wanted.symbol)})
        held = {claim: holder for claim, holder in claims.items() if holder != config_id}
        for error in creation_errors(catalogue, [wanted], held, now).values():
            raise error
        first_candles = await _first_candles(connection, wanted)
        others = await _weight_of_others(connection, wanted.exchange, config_id)
        if wanted.start_date is not None:
            target = WantedRange(_start_of(wanted.start_date), now, "missing")
            history = estimate(await read_targets(connection, names, target, now), to_milliseconds(now))
    requests, weight = load_of(wanted.exchange, wanted.symbol, wanted.timeframes, wanted.interval_minutes)
    budget = budget_of(wanted.exchange, others, weight)
    return Preflight(
        series=[_series_of(wanted, each, first_candles.get(each), now) for each in wanted.timeframes],
        requests_per_minute=round(requests, 4),
        budget=budget,
        history=history,
        whole_at=whole_at(history, budget, now),
        warnings=warnings_about(wanted),
    )


def load_of(exchange: str, symbol: str, timeframes: Iterable[str], interval_minutes: int) -> tuple[float, float]:
    """The requests and their weight per minute of the scheduled runs of a config, on average. Pure."""
    entry, kind = load_catalogue().exchanges.get(exchange), market_kind(symbol)
    requests = weight = 0.0
    for timeframe in timeframes:
        request = None if entry is None else entry.request(kind, timeframe)
        pages, each = 1, 1.0
        if isinstance(request, CandleRequest):
            # A run reads the last known candle again, and the newest candle is still open.
            candles = interval_minutes * _MINUTE_MS / parse_timeframe(timeframe).nominal_ms + 2
            pages, each = math.ceil(candles / request.page), request.weight
        requests += pages / interval_minutes
        weight += pages * each / interval_minutes
    return requests, weight


def budget_of(exchange: str, others: float, mine: float) -> Budget:
    """Pure."""
    entry = load_catalogue().exchanges.get(exchange)
    rate = None if entry is None else entry.rate_limit_ms
    limit = _MINUTE_MS / rate if rate else None
    return Budget(
        limit=limit,
        other_configs=round(others, 4),
        this_config=round(mine, 4),
        share_after=None if limit is None else round((others + mine) / limit, 6),
    )


def whole_at(history: Estimate | None, budget: Budget, now: datetime) -> datetime | None:
    """The time at which the last request of the history is sent. Assumes that the requests use the whole unused part
    of the rate limit. Pure.
    """
    if history is None or budget.limit is None:
        return None
    left = budget.limit - budget.other_configs - budget.this_config
    if left <= 0:
        return None
    minutes = history.weight / left
    return now + timedelta(minutes=minutes) if minutes < _LONGEST / timedelta(minutes=1) else None


def _series_of(wanted: NewConfig, timeframe: str, first_candle: datetime | None, now: datetime) -> PreflightSeries:
    entry = load_catalogue().exchanges.get(wanted.exchange)
    readable = None if entry is None else entry.newest_readable(market_kind(wanted.symbol), timeframe)
    horizon = horizon_of(timeframe, readable, to_milliseconds(now))
    return PreflightSeries(
        timeframe=timeframe,
        first_candle=first_candle,
        newest_readable=readable,
        horizon=None if horizon is None else to_instant(horizon),
        loses_between_runs=bool(loss_warnings(wanted.exchange, wanted.symbol, [timeframe], wanted.interval_minutes)),
    )


def _start_of(start_date: str) -> datetime | None:
    """The start of the range; None if it begins with the listing."""
    return None if start_date == LISTING else datetime.fromisoformat(start_date).replace(tzinfo=UTC)


async def _first_candles(connection: AsyncConnection, wanted: NewConfig) -> Mapping[str, datetime]:
    columns = series.c
    query = sa.select(columns.timeframe, columns.first_open).where(
        columns.exchange == wanted.exchange, columns.symbol == wanted.symbol, columns.candle_count > 0
    )
    return {row.timeframe: row.first_open for row in (await connection.execute(query)).all()}


async def _weight_of_others(connection: AsyncConnection, exchange: str, config_id: int | None) -> float:
    """The weight per minute of all enabled configs of the exchange, except for this one."""
    columns = configs.c
    query = sa.select(columns.symbol, columns.timeframes, columns.interval_minutes).where(
        columns.exchange == exchange, columns.enabled.is_(True), columns.id.is_distinct_from(config_id)
    )
    rows = (await connection.execute(query)).all()
    return sum(load_of(exchange, row.symbol, row.timeframes, row.interval_minutes)[1] for row in rows)
