"""Exchanges refuse requests, stall, or send wrong data. Their limits are kept, others are on time, and all resume."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local_stack.keeper import KeptKafka
from support.faults.evidence import Evidence
from support.faults.history import now
from support.faults.system import MARKETS, RunningSystem, running_system
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(400)]
SEED = 20_261_122
MAX_PER_SECOND = {"kraken": 3, "okx": 13, "coinbase": 13, "bybit": 16, "binance": 26}
"""ccxt's limits for one address, plus one saved request, plus a few that were delayed on the network."""
ON_TIME_SECONDS = 5
HEALTHY = "okx"
FAULTY: dict[str, list[dict[str, Any]]] = {
    "stalling": [
        {"kind": "latency", "exchange": "binance", "latency_ms": 30_000},
        {"kind": "trickle", "exchange": "bybit"},
        {"kind": "reset_mid_body", "exchange": "coinbase"},
        {"kind": "ban", "exchange": "kraken", "count": 1, "retry_after": 8},
    ],
    "wrong data": [
        {"kind": "error", "exchange": "binance", "status": 503},
        {"kind": "html", "exchange": "bybit"},
        {"kind": "truncated", "exchange": "coinbase"},
        {"kind": "empty", "exchange": "kraken"},
        {"kind": "no_candles", "exchange": HEALTHY, "for_seconds": 25},
    ],
}


async def test_no_request_is_sent_before_retry_after_ends_or_above_the_rate_limit(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    async with running_system(system_options(kafka, database_url, tmp_path), seed=SEED) as system:
        system.rules = replace(system.rules, max_per_second=MAX_PER_SECOND)
        await system.mood("rate_limit", exchange="binance", count=2, retry_after=4)
        await system.create(30)
        await system.wait_until_recovered(within=60)
        # Kraken's limit is one request per second.
        await asyncio.gather(*(system.trigger(each) for each in configs_of(system, "kraken")))
        evidence = await system.judge()
        assert [request.exchange for request in evidence.requests if request.retry_after] == ["binance"] * 2


@pytest.mark.parametrize("how", FAULTY)
async def test_four_faulty_exchanges_do_not_delay_the_fifth_and_all_resume(
    kafka: KeptKafka, database_url: str, tmp_path: Path, how: str
) -> None:
    async with running_system(system_options(kafka, database_url, tmp_path), seed=SEED) as system:
        system.rules = replace(system.rules, max_per_second=MAX_PER_SECOND)
        await system.create(30)
        await system.wait_until_recovered(within=60)
        fault_began = now()
        for mood in FAULTY[how]:
            await system.mood(**mood)
        for config_id in configs_of(system, "binance", "bybit", "coinbase", "kraken"):
            await system.trigger(config_id)  # all at once: more than the lowest rate limit allows
        await asyncio.sleep(35)
        # The times of the slots depend on the config ids, so the fault may have to last longer.
        await eventually(lambda: healthy_exchange_had_runs(system, fault_began), within=60, every=1)
        fault_ended = now()
        await system.mood("ok")
        await eventually(lambda: all_resumed(system, fault_ended), within=100, every=2)
        evidence = await system.judge()
        delays = lateness(evidence, configs_of(system, HEALTHY), fault_began, fault_ended)
        assert max(delays) < ON_TIME_SECONDS, sorted(delays)


def configs_of(system: RunningSystem, *exchanges: str) -> list[int]:
    pairs = zip(system.config_ids, MARKETS, strict=False)
    return [config_id for config_id, (exchange, _) in pairs if exchange in exchanges]


async def all_resumed(system: RunningSystem, since: float) -> bool:
    evidence = await system.evidence(now())
    succeeded = {run.config_id for run in evidence.runs if run.status == "success" and run.started_at > since}
    missing = {exchange for exchange, _ in MARKETS if not succeeded & {*configs_of(system, exchange)}}
    assert not missing, f"no run of {missing} has succeeded since the fault"
    return True


async def healthy_exchange_had_runs(system: RunningSystem, since: float) -> bool:
    ran = lateness(await system.evidence(now()), configs_of(system, HEALTHY), since, now())
    assert len(ran) > 1, f"{len(ran)} slots of {HEALTHY} since the fault began"
    return True


def lateness(evidence: Evidence, config_ids: list[int], begin: float, end: float) -> list[float]:
    """Seconds from slot to start, per run."""
    return [
        run.started_at - run.scheduled_for
        for run in evidence.runs
        if run.trigger == "scheduled" and run.config_id in config_ids and begin < run.scheduled_for < end
    ]
