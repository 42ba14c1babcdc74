"""The success of the runs of each exchange, and the share of its rate limit that the scheduled runs use."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

import sqlalchemy as sa
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.configs.preflight import budget_of, load_of
from admin_api.http.input_types import Input, QueryInteger
from admin_api.runs.hourly_counts import exchange_totals
from admin_api.runs.statistics import success_rate, with_snapshot
from admin_api.writes.transactions import reading
from contracts.vocabulary import JobType, RunStatus
from store.tables import configs, execution_logs

_logs: Final = execution_logs.c
_UNSUCCESSFUL: Final = (RunStatus.FAILED, RunStatus.SKIPPED)


class ExchangeUseQuery(Input):
    """Unknown parameters are refused."""

    hours: QueryInteger = Field(
        default=24, ge=1, le=720, description="Only runs that started in the last `hours` hours count."
    )


class ExchangeUse(BaseModel):
    """One exchange that has an enabled config, or finished runs."""

    exchange: str = Field(examples=["binance"])
    successful: int
    failed: int
    success_rate: float | None = Field(
        description="Successful runs in percent of the runs that succeeded or failed; null if there are none.",
        examples=[98.61],
    )
    weight_per_minute: float = Field(
        description="The use of the rate limit by the scheduled runs of all enabled configs, on average.",
        examples=[12.5],
    )
    limit_per_minute: float | None = Field(
        description="The rate limit of the exchange in the same unit. Null: unknown.", examples=[1200]
    )
    rate_share: float | None = Field(
        description="The used share of the rate limit. More than 1: runs will be late. Null: the limit is unknown.",
        examples=[0.0104],
    )


async def use_of_exchanges(engine: AsyncEngine, query: ExchangeUseQuery, now: datetime) -> list[ExchangeUse]:
    """One entry per exchange, in order of name. Finished runs of the type `data_collection` count."""
    since = now - timedelta(hours=query.hours)
    async with reading(with_snapshot(engine)) as connection:
        weights = await _weights(connection)
        totals = await connection.execute(exchange_totals(since, JobType.DATA_COLLECTION))
        timed = {row.exchange: int(row.runs) for row in totals}
        unsuccessful = {row.exchange: row for row in await connection.execute(_unsuccessful(since))}
    return [
        _use(name, timed.get(name, 0), unsuccessful.get(name), weights.get(name, 0.0))
        for name in sorted(timed.keys() | weights.keys() | unsuccessful.keys())
    ]


def _use(exchange: str, timed: int, unsuccessful: sa.Row[tuple[str, int, int]] | None, weight: float) -> ExchangeUse:
    failed, timed_unsuccessful = (unsuccessful.failed, unsuccessful.timed) if unsuccessful else (0, 0)
    successful = timed - timed_unsuccessful
    budget = budget_of(exchange, weight, 0)
    return ExchangeUse(
        exchange=exchange,
        successful=successful,
        failed=failed,
        success_rate=success_rate(successful, failed) if successful + failed else None,
        weight_per_minute=budget.other_configs,
        limit_per_minute=budget.limit,
        rate_share=budget.share_after,
    )


def _unsuccessful(since: datetime) -> sa.Select[tuple[str, int, int]]:
    """For each exchange: the failed runs, and the failed or skipped runs that have a duration.

    There are few of these runs, and an index finds them.
    """
    count = sa.func.count
    return (
        sa.select(
            _logs.exchange,
            count().filter(_logs.status == RunStatus.FAILED).label("failed"),
            count(_logs.duration_seconds).label("timed"),
        )
        .where(
            _logs.status.in_(_UNSUCCESSFUL), _logs.started_at >= since, _logs.job_type == JobType.DATA_COLLECTION.value
        )
        .group_by(_logs.exchange)
    )


async def _weights(connection: AsyncConnection) -> Mapping[str, float]:
    """The weight per minute of all enabled configs, by exchange. Most configs differ only in their symbol."""
    columns = configs.c
    query = sa.select(columns.exchange, columns.symbol, columns.timeframes, columns.interval_minutes)
    weights: dict[str, float] = defaultdict(float)
    for row in await connection.execute(query.where(columns.enabled.is_(True))):
        settle = row.symbol.partition(":")[2]
        market = row.symbol if settle else "BASE/QUOTE"
        weights[row.exchange] += _weight(row.exchange, market, tuple(row.timeframes), row.interval_minutes)
    return weights


@lru_cache(maxsize=4096)
def _weight(exchange: str, symbol: str, timeframes: tuple[str, ...], interval_minutes: int) -> float:
    return load_of(exchange, symbol, timeframes, interval_minutes)[1]
