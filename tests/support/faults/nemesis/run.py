"""One run of the nemesis: a system of 200 configs, an operator, faults, recovery, judgement."""

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
from local_stack.folder import Folder
from local_stack.ports import LOOPBACK
from local_stack.stack import StackOptions
from support.faults.evidence import Evidence
from support.faults.history import now
from support.faults.kafka_detour import kafka_detour, with_kafka_of_its_own
from support.faults.nemesis.hands import POISON_KEY, Hands
from support.faults.nemesis.operator import Operator
from support.faults.nemesis.plan import PlannedFault, Shape, plan
from support.faults.proxy import Proxy, proxying
from support.faults.records import read_records
from support.faults.system import API_PATH, Operated, askable, operated
from support.faults.violations import Violation
from support.polling import eventually
from support.whole_system import EVERY_SERVICE

INSTANCES = {"admin-api": 2, "scheduler": 3, "collector": 3, "log-writer": 2, "candle-writer": 2}
CONFIGS = 200
RECOVERED_WITHIN = 60.0
SETTLED_WITHIN = 90.0
LONGEST_RECOVERY = 120.0
_CALM_BEFORE = 20.0
"""Every config's first run has begun by then: Kraken takes one request a second."""
_QUOTES = {"binance": "USDT", "bybit": "USDT", "coinbase": "USD", "okx": "USDT", "kraken": "USD"}
_SHARES = {"binance": 50, "bybit": 50, "coinbase": 45, "okx": 45, "kraken": 10}
"""Of 200 configs. Kraken's rate is one request a second, which 45 configs would use up."""
RATES = {"binance": 50, "bybit": 10, "coinbase": 10, "okx": 18, "kraken": 1}
"""Candle requests a second that ccxt's costs allow."""
_MOST_PER_SECOND = {exchange: 2 * rate + 2 for exchange, rate in RATES.items()}
"""For the moment of a handover two collectors may work on one lane, and each asks for the markets first."""
_SPARE = 10
"""Markets of each exchange, for configs that are made later."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What became of a run. `recovered_after`: seconds from the last fault's end; None: not in time."""

    seed: int
    seconds: float
    configs: int
    evidence: Evidence
    violations: list[Violation]
    injected: list[PlannedFault]
    missed: list[PlannedFault]
    calm_since: float
    recovered_after: float | None


def recovery_of(seconds: float) -> float:
    """So much at the end of a run is without faults."""
    return min(LONGEST_RECOVERY, seconds / 3)


def markets(count: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Those of the first configs, and spare ones."""
    chosen: list[tuple[str, str]] = []
    spare: list[tuple[str, str]] = []
    for exchange, quote in _QUOTES.items():
        share = round(_SHARES[exchange] * count / sum(_SHARES.values()))
        all_of_it = [(exchange, f"{asset}/{quote}") for asset in list(ASSETS)[: share + _SPARE]]
        chosen += all_of_it[:share]
        spare += all_of_it[share:]
    return chosen, spare


async def run(
    folder: Path, *, seed: int, seconds: float, configs: int = CONFIGS, say: Callable[[str], None] = print
) -> Told:
    """Break a system for so long, and judge it. Its own Kafka and Postgres; all it leaves is in the folder."""
    first, spare = markets(configs)
    async with AsyncExitStack() as opened:
        system, postgres, kafka = await opened.enter_async_context(_system(folder, seed))
        apis = [await opened.enter_async_context(_api(system, name)) for name in ("admin-api", "admin-api-2")]
        system.rules = replace(system.rules, most_per_second=_MOST_PER_SECOND)
        await system.create(len(first), first)
        say(f"{len(system.config_ids)} configs; the faults begin in {_CALM_BEFORE:g} s")
        await asyncio.sleep(_CALM_BEFORE)
        services = tuple(name for name, each in system.stack.services.items() if each.role.name != "exchange-simulator")
        faults = plan(seed, seconds, recovery_of(seconds), Shape(services, tuple(_QUOTES)))
        began = now()

        def tell(fault: PlannedFault, note: str) -> None:
            lasts = fault.ends - fault.begins
            say(f"{now() - began:6.1f} s  {fault.kind} {fault.target} {fault.how} for {lasts:.0f} s {note}".rstrip())

        hands = Hands(system, postgres, kafka, tell)
        operator = Operator(system, apis, random.Random(seed + 1), spare)
        summaries = asyncio.create_task(_summaries(system, hands, say))
        try:
            async with asyncio.TaskGroup() as work:
                work.create_task(operator.work(seconds - recovery_of(seconds) / 2))
                await hands.work(faults)
                calm_since = now()
                say(f"{calm_since - began:6.1f} s  the last fault is over")
                recovered = await _recovered(system, calm_since)
            await asyncio.sleep(max(began + seconds, calm_since + recovery_of(seconds)) - now())
            evidence, violations = await _judged(system, calm_since)
        finally:
            summaries.cancel()
        return Told(
            seed=seed,
            seconds=seconds,
            configs=len(first),
            evidence=evidence,
            violations=violations,
            injected=hands.injected,
            missed=hands.missed,
            calm_since=calm_since,
            recovered_after=recovered,
        )


async def _recovered(system: Operated, calm_since: float) -> float | None:
    with contextlib.suppress(AssertionError):
        await system.recovered(RECOVERED_WITHIN)
        return now() - calm_since
    return None


async def _judged(system: Operated, calm_since: float) -> tuple[Evidence, list[Violation]]:
    system.rules = replace(system.rules, on_time_from=calm_since + RECOVERED_WITHIN)
    await eventually(lambda: _poison_found(system), within=SETTLED_WITHIN)
    return await system.settled(now() - system.rules.late_after, SETTLED_WITHIN)


async def _poison_found(system: Operated) -> bool:
    """An AssertionError while Kafka cannot be asked."""
    with askable():
        for topic in (TICKS, RUN_EVENTS, CANDLES):
            records = await read_records(system.stack, topic)
            system.poison |= {(topic.name, each.partition, each.offset) for each in records if each.key == POISON_KEY}
    return True


@asynccontextmanager
async def _system(folder: Path, seed: int) -> AsyncIterator[tuple[Operated, Proxy, Proxy]]:
    """All services come to Postgres and to Kafka by a proxy each; who judges comes directly."""
    async with kafka_detour() as (to_kafka, ports):
        options = StackOptions(folder=folder, overrides={"*": EVERY_SERVICE}, report=_log_to(folder / "stack.log"))
        options = with_kafka_of_its_own(options, ports)
        postgres_port = options.ports.postgres
        async with proxying(LOOPBACK, postgres_port) as to_postgres:
            place = Folder(folder.absolute())
            place.prepare()
            address = (
                f"postgresql://candlekeep:{place.postgres_password()}@{LOOPBACK}:{to_postgres.listens_on}/candlekeep"
            )
            overrides = {name: dict(values) for name, values in options.overrides.items()}
            for role in ("admin-api", "log-writer", "candle-writer"):
                overrides[role] = overrides.get(role, {}) | {"DATABASE_URL": address}
            options = replace(options, overrides=overrides)
            async with operated(options, seed=seed, instances=INSTANCES) as system:
                yield system, to_postgres, to_kafka


def _log_to(file: Path) -> Callable[[str], None]:
    def say(line: str) -> None:
        with file.open("a") as log:
            log.write(f"{datetime.now(UTC):%H:%M:%S.%f} {line}\n")

    return say


@asynccontextmanager
async def _api(system: Operated, instance: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {system.stack.token}"}
    url = f"{system.stack.services[instance].url}{API_PATH}"
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=10) as api:
        yield api


async def _summaries(system: Operated, hands: Hands, say: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(30)
        calls = system.history.calls
        unknown = sum(call.outcome == "unknown" for call in calls)
        ended = len({seen.run_id for seen in system.history.seen if seen.status != "running"})
        say(f"          {ended} runs ended, {len(hands.injected)} faults, {len(calls)} calls ({unknown} unanswered)")
