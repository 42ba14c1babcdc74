from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from log_writer.run_health import RunHealth, count_run_health
from support.writers import query

pytestmark = pytest.mark.postgres


async def add_config(database_url: str, config_id: int, exchange: str, *, active: bool = True) -> None:
    """An active schedule every ten minutes."""
    await query(
        database_url,
        "INSERT INTO scheduled_jobs (config_id, job_name, exchange, symbol, interval_minutes, active, config_version, "
        "updated_at) VALUES ($1, $2, $3, 'BTC/USDT', 10, $4, 1, now())",
        *(config_id, f"job {config_id}", exchange, active),
    )


async def add_run(database_url: str, config_id: int, exchange: str, status: str, minutes_ago: int) -> None:
    await query(
        database_url,
        "INSERT INTO job_execution_logs (job_name, job_type, symbol, exchange, started_at, status, run_id, config_id, "
        "trigger, scheduled_for) "
        "VALUES ($1, 'candles', 'BTC/USDT', $2, now() - $3::interval, $4, $5, $6, 'scheduled', now())",
        *(f"job {config_id}", exchange, timedelta(minutes=minutes_ago), status, uuid4(), config_id),
    )


async def test_stuck_runs_and_configs_without_success_are_counted_by_exchange(
    engine: AsyncEngine, database_url: str
) -> None:
    for config_id, exchange, active, runs in (
        (1, "binance", True, [("failed", 50), ("failed", 5)]),
        (2, "binance", True, [("failed", 50), ("success", 29)]),
        (3, "binance", True, [("success", 50), ("failed", 5)]),
        (4, "binance", True, [("failed", 20)]),  # younger than three intervals
        (5, "binance", False, [("failed", 50)]),
        (6, "kraken", True, [("success", 40), ("running", 31), ("running", 29), ("success", 1)]),
        (7, "okx", False, [("running", 100)]),
    ):
        await add_config(database_url, config_id, exchange, active=active)
        for status, minutes_ago in runs:
            await add_run(database_url, config_id, exchange, status, minutes_ago)
    assert await count_run_health(engine) == {
        "binance": RunHealth(configs_without_success=2, stuck_runs=0),
        "kraken": RunHealth(configs_without_success=0, stuck_runs=1),
        "okx": RunHealth(configs_without_success=0, stuck_runs=1),
    }
