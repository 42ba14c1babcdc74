"""One nemesis run: start a system with configs and an operator, cause faults, wait for recovery, and check."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx

from contracts.topics import CANDLES, RUN_EVENTS, TICKS
from exchange_simulator.catalogue import ASSETS
from local_stack.database_logins import DatabaseLogins
from local_stack.folder import Folder
from local_stack.ports import LOOPBACK
from local_stack.processes import open_log
from local_stack.stack import StackOptions
from support.faults.evidence import Evidence
from support.faults.history import now
from support.faults.kafka_detour import kafka_detour, with_own_kafka
from support.faults.nemesis.fault_actions import UNREADABLE_KEY, FaultRunner
from support.faults.nemesis.histories import plan_histories
from support.faults.nemesis.operator import Operator
from support.faults.nemesis.plan import PlannedFault, Targets, plan
from support.faults.proxy import Proxy, proxying
from support.faults.system import API_PATH, RunningSystem, errors_as_assertions, running_system
from support.faults.topic_records import read_records
from support.faults.violations import Violation
from support.polling import eventually
from support.whole_system import EVERY_SERVICE

INSTANCES = {"admin-api": 2, "scheduler": 3, "collector": 3, "log-writer": 2, "candle-writer": 2, "backfiller": 2}
CONFIGS = 200
RECOVERED_WITHIN = 60.0
SETTLED_WITHIN = 90.0
LONGEST_RECOVERY = 180.0
COLLECTED_WITHIN = 30.0
_SECONDS_BEFORE_FAULTS = 20.0
"""Within this time every config's first run has begun. Kraken allows one request a second."""
_QUOTES = {"binance": "USDT", "bybit": "USDT", "coinbase": "USD", "okx": "USDT", "kraken": "USD"}
_SHARES = {"binance": 50, "bybit": 50, "coinbase": 45, "okx": 45, "kraken": 10}
"""Of 200 configs. Kraken's rate is one request a second, which 45 configs would use up."""
RATES = {"binance": 50, "bybit": 10, "coinbase": 10, "okx": 18, "kraken": 1}
"""Candle requests per second that ccxt's rate limit allows."""
_MOST_PER_SECOND = {exchange: rate + rate // 4 + 3 for exchange, rate in RATES.items()}
"""ccxt's limit, plus the first request of two owners of a lane and one saved request, plus a quarter for requests that
were delayed on the network. Two collectors never send at the same time.
"""
_SPARE = 10
"""The number of markets per exchange for configs that are created later."""


@dataclass(frozen=True, kw_only=True)
class NemesisResult:
    """The result of a run. `recovered_after` is in seconds from the end of the last fault; None: not in time."""

    seed: int
    seconds: float
    configs: int
    evidence: Evidence
    violations: list[Violation]
    injected: list[PlannedFault]
    missed: list[PlannedFault]
    faults_ended_at: float
    recovered_after: float | None


def recovery_of(seconds: float) -> float:
    """The time without faults at the end of a run, in seconds."""
    return min(LONGEST_RECOVERY, seconds / 3)


def markets(count: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the markets of the first configs, and spare ones."""
    chosen: list[tuple[str, str]] = []
    spare: list[tuple[str, str]] = []
    for exchange, quote in _QUOTES.items():
        share = round(_SHARES[exchange] * count / sum(_SHARES.values()))
        exchange_markets = [(exchange, f"{asset}/{quote}") for asset in list(ASSETS)[: share + _SPARE]]
        chosen += exchange_markets[:share]
        spare += exchange_markets[share:]
    return chosen, spare


async def run(
    folder: Path, *, seed: int, seconds: float, configs: int = CONFIGS, log: Callable[[str], None] = print
) -> NemesisResult:
    """Break a system for `seconds`, and check it. It has its own Kafka and Postgres, with all files in the folder."""
    first, spare = markets(configs)
    async with AsyncExitStack() as resources:
        system, postgres, kafka = await resources.enter_async_context(_system(folder, seed))
        apis = [await resources.enter_async_context(_api(system, name)) for name in ("admin-api", "admin-api-2")]
        system.rules = replace(system.rules, max_per_second=_MOST_PER_SECOND)
        for history in plan_histories(seed, [*first, *spare], round(now() * 1000)):
            await system.set_history(history)
        await system.create(len(first), first)
        log(f"{len(system.config_ids)} configs; the faults begin in {_SECONDS_BEFORE_FAULTS:g} s")
        await asyncio.sleep(_SECONDS_BEFORE_FAULTS)
        services = tuple(name for name, each in system.stack.services.items() if each.role.name != "exchange-simulator")
        faults = plan(seed, seconds, recovery_of(seconds), Targets(services, tuple(_QUOTES)))
        began = now()

        def log_fault(fault: PlannedFault, note: str) -> None:
            lasts = fault.ends - fault.begins
            log(f"{now() - began:6.1f} s  {fault.kind} {fault.target} {fault.how} for {lasts:.0f} s {note}".rstrip())

        runner = FaultRunner(system, postgres, kafka, log_fault)
        operator = Operator(system, apis, random.Random(seed + 1), spare)
        summaries = asyncio.create_task(_summaries(system, runner, log))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(operator.work(seconds - recovery_of(seconds) / 2))
                await runner.run_all(faults)
                faults_ended_at = now()
                log(f"{faults_ended_at - began:6.1f} s  the last fault is over")
                recovered = await _recovered(system, faults_ended_at)
            await asyncio.sleep(max(began + seconds, faults_ended_at + recovery_of(seconds)) - now())
            evidence, violations = await _check(system, faults_ended_at, recovered)
        finally:
            summaries.cancel()
        return NemesisResult(
            seed=seed,
            seconds=seconds,
            configs=len(first),
            evidence=evidence,
            violations=violations,
            injected=runner.injected,
            missed=runner.missed,
            faults_ended_at=faults_ended_at,
            recovered_after=recovered,
        )


async def _recovered(system: RunningSystem, faults_ended_at: float) -> float | None:
    with contextlib.suppress(AssertionError):
        await system.wait_until_recovered(RECOVERED_WITHIN)
        return now() - faults_ended_at
    return None


async def _check(
    system: RunningSystem, faults_ended_at: float, recovered_after: float | None
) -> tuple[Evidence, list[Violation]]:
    system.rules = replace(
        system.rules,
        on_time_from=faults_ended_at + RECOVERED_WITHIN,
        healthy_since=faults_ended_at + (recovered_after or RECOVERED_WITHIN),
        collected_within=COLLECTED_WITHIN,
    )
    await eventually(lambda: _find_unreadable(system), within=SETTLED_WITHIN)
    return await system.stop_and_check(now() - system.rules.late_after, SETTLED_WITHIN)


async def _find_unreadable(system: RunningSystem) -> bool:
    """Find the unreadable messages by their key. Raises AssertionError while Kafka does not respond."""
    with errors_as_assertions():
        for topic in (TICKS, RUN_EVENTS, CANDLES):
            records = await read_records(system.stack, topic)
            system.unreadable |= {
                (topic.name, each.partition, each.offset) for each in records if each.key == UNREADABLE_KEY
            }
    return True


@asynccontextmanager
async def _system(folder: Path, seed: int) -> AsyncIterator[tuple[RunningSystem, Proxy, Proxy]]:
    """All services connect to Postgres and Kafka through proxies; the checker connects directly."""
    async with kafka_detour() as (to_kafka, ports):
        options = StackOptions(folder=folder, overrides={"*": EVERY_SERVICE}, report=_log_to(folder / "stack.log"))
        options = with_own_kafka(options, ports)
        postgres_port = options.ports.postgres
        async with proxying(LOOPBACK, postgres_port) as to_postgres:
            place = Folder(folder.absolute())
            place.prepare()
            logins = DatabaseLogins(passwords=place.database_passwords())
            address = f"postgresql://{LOOPBACK}:{to_postgres.listens_on}/candlekeep"
            overrides = {name: dict(values) for name, values in options.overrides.items()}
            for role in ("admin-api", "log-writer", "candle-writer", "backfiller"):
                overrides[role] = overrides.get(role, {}) | {"DATABASE_URL": logins.url(address, role)}
            options = replace(options, overrides=overrides)
            async with running_system(options, seed=seed, instances=INSTANCES) as system:
                yield system, to_postgres, to_kafka


def _log_to(file: Path) -> Callable[[str], None]:
    def write(line: str) -> None:
        with open_log(file) as log:
            log.write(f"{datetime.now(UTC):%H:%M:%S.%f} {line}\n".encode())

    return write


@asynccontextmanager
async def _api(system: RunningSystem, instance: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {system.stack.token}"}
    url = f"{system.stack.services[instance].url}{API_PATH}"
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=10) as api:
        yield api


async def _summaries(system: RunningSystem, runner: FaultRunner, log: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(30)
        calls = system.history.calls
        unknown = sum(call.outcome == "unknown" for call in calls)
        ended = len({change.run_id for change in system.history.status_changes if change.status != "running"})
        log(f"          {ended} runs ended, {len(runner.injected)} faults, {len(calls)} calls ({unknown} unknown)")
