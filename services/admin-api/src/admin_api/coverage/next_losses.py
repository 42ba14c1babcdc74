"""The series that lose candles next, soonest first."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.coverage.loss import Limited, Loss, describe
from admin_api.coverage.loss_metrics import losses_of_configs, margin_seconds
from admin_api.coverage.schemas import NextLoss
from admin_api.http.input_types import Input, QueryInteger
from contracts.coverage import to_milliseconds

MAX_LOSSES: Final = 100


class LossesQuery(Input):
    """Unknown parameters are refused."""

    limit: QueryInteger = Field(default=10, ge=1, le=MAX_LOSSES)


class SeriesLoss(NextLoss):
    """The next loss of one series."""

    exchange: str
    symbol: str
    timeframe: str
    at_risk: bool = Field(
        description="Fewer than two intervals of the config are left before the loss. Otherwise, scheduled runs read "
        "the candles long before."
    )


async def next_losses_of_configs(engine: AsyncEngine, query: LossesQuery, now: datetime) -> list[SeriesLoss]:
    at = to_milliseconds(now)
    return soonest_first(await losses_of_configs(engine, at), at)[: query.limit]


def soonest_first(losses: Iterable[tuple[Limited, int, Loss]], now: int) -> list[SeriesLoss]:
    """The losses in order. Series at risk come first, because a config with a long interval can be at risk although a
    config with a short interval has an earlier loss. Pure.
    """
    found = [
        SeriesLoss(
            **describe(loss, now).model_dump(),
            exchange=series.exchange,
            symbol=series.symbol,
            timeframe=series.timeframe,
            at_risk=margin_seconds(loss, interval, now) < 0,
        )
        for series, interval, loss in losses
    ]
    return sorted(found, key=lambda each: (not each.at_risk, each.lost_at, each.exchange, each.symbol, each.timeframe))
