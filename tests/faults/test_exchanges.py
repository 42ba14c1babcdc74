"""Exchanges that refuse, stall or rave: each is left alone as it asks, nobody else waits for it, and all resume."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local_stack.keeper import KeptKafka
from support.faults.evidence import Evidence
from support.faults.history import now
from support.faults.system import MARKETS, Operated, operated
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(400)]
SEED = 20_261_122
MOST_PER_SECOND = {"kraken": 3, "okx": 13, "coinbase": 13, "bybit": 16, "binance": 26}
"""What ccxt's limits allow from one address, one request saved up, and a few more that were held up on their way."""
ON_TIME_SECONDS = 5
HEALTHY = "okx"
SICK: dict[str, list[dict[str, Any]]] = {
    "stalling": [
        {"kind": "latency", "exchange": "binance", "latency_ms": 30_000},
        {"kind": "trickle", "exchange": "bybit"},
        {"kind": "reset_mid_body", "exchange": "coinbase"},
        {"kind": "ban", "exchange": "kraken", "count": 1, "retry_after": 8},
    ],
    "raving": [
        {"kind": "error", "exchange": "binance", "status": 503},
        {"kind": "html", "exchange": "bybit"},
        {"kind": "truncated", "exchange": "coinbase"},
        {"kind": "empty", "exchange": "kraken"},
        {"kind": "no_candles", "exchange": HEALTHY, "for_seconds": 25},
    ],
}


async def test_an_exchange_that_refuses_is_not_asked_before_it_said_and_none_above_its_rate(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    async with operated(system_options(kafka, database_url, tmp_path), seed=SEED) as system:
        system.rules = replace(system.rules, most_per_second=MOST_PER_SECOND)
        await system.mood("rate_limit", exchange="binance", count=2, retry_after=4)
        await system.create(30)
        await system.recovered(within=60)
        await asyncio.gather(*(system.trigger(each) for each in configs_of(system, "kraken")))  # one a second may ask
        evidence = await system.judge()
        assert [request.exchange for request in evidence.requests if request.retry_after] == ["binance"] * 2


@pytest.mark.parametrize("how", SICK)
async def test_four_sick_exchanges_do_not_delay_the_fifth_and_all_resume(
    kafka: KeptKafka, database_url: str, tmp_path: Path, how: str
) -> None:
    async with operated(system_options(kafka, database_url, tmp_path), seed=SEED) as system:
        system.rules = replace(system.rules, most_per_second=MOST_PER_SECOND)
        await system.create(30)
        await system.recovered(within=60)
        began = now()
        for mood in SICK[how]:
            await system.mood(**mood)
        for config_id in configs_of(system, "binance", "bybit", "coinbase", "kraken"):
            await system.trigger(config_id)  # all at once: more than the slowest limit lets through
        await asyncio.sleep(35)
        await eventually(lambda: some_ran(system, began), within=60, every=1)  # where the slots lie is chance
        ended = now()
        await system.mood("ok")
        await eventually(lambda: all_resumed(system, ended), within=100, every=2)
        evidence = await system.judge()
        delays = lateness(evidence, configs_of(system, HEALTHY), began, ended)
        assert max(delays) < ON_TIME_SECONDS, sorted(delays)


def configs_of(system: Operated, *exchanges: str) -> list[int]:
    pairs = zip(system.config_ids, MARKETS, strict=False)
    return [config_id for config_id, (exchange, _) in pairs if exchange in exchanges]


async def all_resumed(system: Operated, since: float) -> bool:
    evidence = await system.evidence(now())
    well = {run.config_id for run in evidence.runs if run.status == "success" and run.started_at > since}
    missing = {exchange for exchange, _ in MARKETS if not well & {*configs_of(system, exchange)}}
    assert not missing, f"no run has succeeded at {missing} since"
    return True


async def some_ran(system: Operated, since: float) -> bool:
    ran = lateness(await system.evidence(now()), configs_of(system, HEALTHY), since, now())
    assert len(ran) > 1, f"{len(ran)} slots of {HEALTHY} since"
    return True


def lateness(evidence: Evidence, config_ids: list[int], begin: float, end: float) -> list[float]:
    """Seconds from slot to start."""
    return [
        run.started_at - run.scheduled_for
        for run in evidence.runs
        if run.trigger == "scheduled" and run.config_id in config_ids and begin < run.scheduled_for < end
    ]
