"""The loss clock of all series as metrics, by exchange."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.coverage.loss import Limited, Loss, limited, next_losses
from admin_api.metrics import Metrics
from admin_api.writes.transactions import DATABASE_PROBLEMS, reading
from contracts.coverage import to_milliseconds
from contracts.exchange_catalogue import load_catalogue
from store.tables import config_timeframes, configs

INTERVAL_SECONDS: Final = 30.0
"""The shortest time between two computations for all series."""
_INTERVALS: Final = 2
"""The margin ends this number of intervals before the loss. Until its end, this number of scheduled runs can still read
the candles.
"""
_MINUTE_MS: Final = 60_000
_TIMEOUT_SECONDS: Final = 5.0


async def observe_losses(engine: AsyncEngine, metrics: Metrics) -> None:
    """Set the gauges. If the database does not answer in time, they are empty, because old values would be wrong."""
    now = to_milliseconds(datetime.now(UTC))
    metrics.next_loss_seconds.clear()
    metrics.next_loss_margin_seconds.clear()
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            losses = await losses_of_configs(engine, now)
    except (*DATABASE_PROBLEMS, TimeoutError):
        return
    for exchange, (seconds, margin) in soonest(losses, now).items():
        metrics.next_loss_seconds.labels(exchange).set(seconds)
        metrics.next_loss_margin_seconds.labels(exchange).set(margin)


async def losses_of_configs(engine: AsyncEngine, now: int) -> list[tuple[Limited, int, Loss]]:
    """The next loss of each series of enabled configs, with the interval of the config in minutes."""
    async with reading(engine) as connection:
        rows = (await connection.execute(_collected())).all()
        found = [(limited(row.exchange, row.symbol, row.timeframe), row.interval_minutes) for row in rows]
        known = [(series, interval) for series, interval in found if series is not None]
        losses = await next_losses(connection, [series for series, _ in known], now)
    return [(*each, loss) for each, loss in zip(known, losses, strict=True) if loss is not None]


def soonest(losses: Iterable[tuple[Limited, int, Loss]], now: int) -> dict[str, tuple[float, float]]:
    """For each exchange: the seconds until the next loss, and the seconds until two intervals before a loss. Pure.

    Each loss has the interval of its config in minutes.
    """
    found: dict[str, tuple[float, float]] = {}
    for series, interval, loss in losses:
        seconds, margin = (loss.at - now) / 1000, margin_seconds(loss, interval, now)
        before = found.get(series.exchange, (seconds, margin))
        found[series.exchange] = (min(before[0], seconds), min(before[1], margin))
    return found


def margin_seconds(loss: Loss, interval_minutes: int, now: int) -> float:
    """The time until two intervals before the loss. Negative after that. Pure."""
    return (loss.at - now - _INTERVALS * interval_minutes * _MINUTE_MS) / 1000


def _collected() -> sa.Select[tuple[str, str, str, int]]:
    """The series of enabled configs on exchanges that limit the number of candles for some markets."""
    columns = config_timeframes.c
    exchanges = [
        key
        for key, entry in load_catalogue().exchanges.items()
        if any(
            entry.newest_readable(kind, each) is not None for kind in entry.requests for each in entry.requests[kind]
        )
    ]
    return (
        sa.select(columns.exchange, columns.symbol, columns.timeframe, configs.c.interval_minutes)
        .join(configs, configs.c.id == columns.config_id)
        .where(configs.c.enabled.is_(True), columns.exchange.in_(exchanges))
    )
