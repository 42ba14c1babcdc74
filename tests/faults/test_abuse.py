"""A hostile viewer, a hostile operator and many faulty inputs at once harm neither the schedule nor other callers.

For a trial, `ABUSE_SECONDS` is the duration of the attacks, and `ABUSE_ATTACKS` names some of them.
"""

import asyncio
import contextlib
import json
import math
import os
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from contracts.ticks import TickDue
from contracts.topics import TICKS
from contracts.vocabulary import Trigger
from local_stack.keeper import KeptKafka
from runtime.kafka.codec import UnreadableMessage, decode
from support.abuse.attack import Target
from support.abuse.catalogue import ATTACKS
from support.abuse.figures import AttackCount, Figure, report
from support.abuse.observation import (
    Processes,
    leaks,
    missing_lines,
    p99,
    readable_by_others,
    run_lateness,
    secret_of,
    wrong,
)
from support.abuse.other_callers import OtherCallers, Samples
from support.faults.history import now
from support.faults.nemesis.run import markets
from support.faults.run_rules import lost_slots
from support.faults.system import API_PATH, RunningSystem, running_system
from support.faults.topic_records import read_records
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [
    pytest.mark.faults,
    pytest.mark.kafka,
    pytest.mark.real_kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(900),
]
SEED = 20_261_127
SECONDS = float(os.environ.get("ABUSE_SECONDS", "300"))
CHOSEN = os.environ.get("ABUSE_ATTACKS", "").split() or [attack.name for attack in ATTACKS]
CONFIGS = 50
SPARE = 10
DISABLED_CONFIGS = 6000
ADMIN_API = {"LOG_FORMAT": "console", "TRIGGERS_PER_MINUTE": "120", "MAX_EVENT_STREAMS": "40"}
"""The log format of `make demo`, the default quota of manual runs, and few places for event streams."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All that was counted and measured."""

    began: float
    ended: float
    counts: list[AttackCount]
    secrets: set[str]
    request_ids: list[str]
    others: OtherCallers
    processes: Processes
    waited_share: float


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[RunningSystem]:
    options = system_options(kafka, database_url, tmp_path)
    options = replace(options, overrides={**options.overrides, "admin-api": ADMIN_API})
    async with running_system(options, seed=SEED) as running:
        yield running


async def test_hostile_callers_harm_neither_the_schedule_nor_other_callers(system: RunningSystem) -> None:
    first, spare = markets(CONFIGS)
    await system.create(len(first), first)
    measured = list(system.config_ids)
    await system.create(SPARE, [*first, *spare[::5]])
    await system.wait_until_recovered(within=60)
    await add_disabled_configs(system.database_url)
    async with target_of(system, system.config_ids[len(measured) :]) as (target, other):
        outcome = await attacked(system, target, other)
    figures = [*await schedule_figures(system, measured, outcome), *caller_figures(outcome)]
    figures += [*process_figures(system, outcome), *attack_figures(outcome)]
    print(report(figures, outcome.counts))
    assert [str(figure) for figure in figures if not figure.holds] == []


async def add_disabled_configs(database_url: str) -> None:
    """Thousands of rows for the exports, without an event for each."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "INSERT INTO data_collection_configs (symbol, exchange, timeframes, interval_minutes, enabled, description)"
            " SELECT 'A' || n || '/USDT', 'bitget', '{1m,5m,1h,1d}', 10, false, 'one of many'"
            " FROM generate_series(1, $1::int) AS n",
            DISABLED_CONFIGS,
        )
    finally:
        await connection.close()


async def new_token(system: RunningSystem, role: str) -> str:
    body = {"name": f"{role}-{uuid.uuid4().hex[:8]}", "role": role, "expires_in_days": 1}
    created = await system.api.post("/tokens", json=body)
    assert created.is_success, created.text
    token: str = created.json()["token"]
    return token


@asynccontextmanager
async def target_of(system: RunningSystem, spare_ids: list[int]) -> AsyncIterator[tuple[Target, OtherCallers]]:
    target = Target(
        api_url=system.stack.api_url,
        viewer=await new_token(system, "viewer"),
        operator=await new_token(system, "operator"),
        admin=await new_token(system, "admin"),
        spare_ids=spare_ids,
        simulator_url=system.stack.simulator_url or "",
        kafka=system.stack.kafka,
        topic_prefix=system.stack.options.topic_prefix,
        databases=Processes(system).database_urls(),
    )
    token = await new_token(system, "viewer")
    headers = {"Authorization": f"Bearer {token}"}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=f"{target.api_url}{API_PATH}", headers=headers, limits=limits, timeout=60
    ) as api:
        others = OtherCallers(api=api, admin=system.api, live_url=f"{target.api_url}/health/live")
        others.tokens.append(token)
        yield target, others


async def attacked(system: RunningSystem, target: Target, others: OtherCallers) -> Outcome:
    """Attack for `SECONDS`, while others use the API."""
    processes, began = Processes(system), now()
    observing = [asyncio.create_task(others.work()), asyncio.create_task(processes.watch_memory())]
    try:
        found = await attackers(target)
        waited_share = math.inf if processes.restarted() else processes.waited_share()
    finally:
        for task in observing:
            task.cancel()
        await asyncio.wait(observing)
    tokens = [target.viewer, target.operator, target.admin, system.stack.token, *others.tokens]
    received = [secret for each in found.values() for secret in each["secrets"]]
    return Outcome(
        began=began,
        ended=now(),
        counts=[
            AttackCount(attack=attack, sent=found[attack.name]["sent"], answers=found[attack.name]["answers"])
            for attack in ATTACKS
            if attack.name in CHOSEN
        ],
        secrets={secret_of(token) for token in [*tokens, *received]},
        request_ids=[each for each_found in found.values() for each in each_found["request_ids"]],
        others=others,
        processes=processes,
        waited_share=waited_share,
    )


async def attackers(target: Target) -> dict[str, Any]:
    """The attackers have a process of their own, so that they do not delay the other callers of this process.

    It has a low priority: in production, attackers do not share the processors of the system.
    """
    process = await asyncio.create_subprocess_exec(
        *("nice", "-n", "10", sys.executable, "-m", "support.abuse", str(SECONDS), *CHOSEN),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        output, _ = await process.communicate(target.to_json().encode())
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert process.returncode == 0, "an attack has a defect: its traceback is above"
    found: dict[str, Any] = json.loads(output)
    return found


async def schedule_figures(system: RunningSystem, measured: Sequence[int], outcome: Outcome) -> list[Figure]:
    since, until = outcome.began + 1, outcome.ended - 5
    ticks = await tick_lateness(system, measured, since, until)

    async def all_runs() -> list[float]:
        runs = await run_lateness(system.database_url, measured, since, until)
        assert len(runs) >= len(ticks), f"{len(runs)} runs of {len(ticks)} ticks"
        return runs

    try:
        runs = await eventually(all_runs, within=60, every=1)
    except AssertionError:
        runs = await run_lateness(system.database_url, measured, since, until)
    lost, note = await slots_without_a_tick(system, measured, until)
    return [
        Figure(
            name="lateness of scheduled ticks, p99", value=p99(ticks), limit=2, unit="s", note=f"{len(ticks)} ticks"
        ),
        Figure(name="lateness of scheduled runs, p99", value=p99(runs), limit=2, unit="s", note=f"{len(runs)} runs"),
        Figure(name="scheduled ticks without a run", value=len(ticks) - len(runs), limit=0),
        Figure(name="slots without a tick", value=lost, limit=0, note=note),
    ]


async def slots_without_a_tick(system: RunningSystem, measured: Sequence[int], until: float) -> tuple[float, str]:
    """Their number, and a note if a forged message has made the tables unreadable."""
    try:
        lost = lost_slots(await system.schedule_evidence(until))
    except ValueError as error:
        return math.inf, f"the tables cannot be read: {error}"
    subjects = {f"config {config_id}" for config_id in measured}
    return sum(each.subject in subjects for each in lost), ""


async def tick_lateness(system: RunningSystem, measured: Sequence[int], since: float, until: float) -> list[float]:
    """Seconds from each slot to the publication of its tick. A tick also covers the missed slots before its own."""
    late: list[float] = []
    for record in await read_records(system.stack, TICKS):
        with contextlib.suppress(UnreadableMessage):
            tick = decode(TICKS, record.value)
            assert isinstance(tick, TickDue)
            slot = tick.scheduled_for.timestamp()
            if tick.trigger is Trigger.SCHEDULED and tick.config.config_id in measured and since <= slot <= until:
                late += [record.timestamp / 1000 - slot + 60 * missed for missed in range(tick.missed_slots + 1)]
    return late


def caller_figures(outcome: Outcome) -> list[Figure]:
    others = outcome.others

    def wrong_answers(name: str, samples: Samples) -> Figure:
        return Figure(name=name, value=samples.wrong.total(), limit=0, note=wrong(samples.wrong))

    count = f"{len(others.me.seconds)} requests"
    return [
        Figure(
            name="GET /me of another caller, p99", value=others.me.percentile(0.99), limit=0.5, unit="s", note=count
        ),
        Figure(name="GET /health/live, longest", value=others.live.percentile(1), limit=0.5, unit="s", note=count),
        wrong_answers("GET /me of another caller, other answers than 200", others.me),
        wrong_answers("GET /health/live, other answers than 200", others.live),
        wrong_answers("event streams of another caller that were refused", others.streams),
        wrong_answers("first requests of new tokens that were refused", others.new_tokens),
    ]


def process_figures(system: RunningSystem, outcome: Outcome) -> list[Figure]:
    logs, restarted = system.stack.folder.logs, outcome.processes.restarted()
    leaked, readable = leaks(logs, outcome.secrets), readable_by_others(logs)
    lost = missing_lines(logs / "admin-api.log", outcome.request_ids)
    attempts = f"of {len(outcome.request_ids)}"
    return [
        Figure(name="share in which admin-api waited for a processor", value=outcome.waited_share, limit=math.inf),
        Figure(name="restarted processes", value=len(restarted), limit=0, note=" ".join(restarted)),
        Figure(
            name="growth of admin-api's memory, highest", value=outcome.processes.growth_mib(), limit=150, unit="MiB"
        ),
        Figure(name="pieces of credentials in logs", value=len(leaked), limit=0, note=" ".join(leaked[:5])),
        Figure(name="log files that others can read", value=len(readable), limit=0, note=" ".join(readable)),
        Figure(name="refused attempts without a log line", value=len(lost), limit=0, note=attempts),
    ]


def attack_figures(outcome: Outcome) -> list[Figure]:
    """Each attack must have been answered, and only with answers that harm no one."""
    idle = [each.attack.name for each in outcome.counts if sum(each.answers.values()) == 0]
    return [
        Figure(name="attacks that were not answered at all", value=len(idle), limit=0, note=" ".join(idle)),
        *(
            Figure(
                name=f"other answers to {each.attack.name}",
                value=each.unexpected.total(),
                limit=0,
                note=wrong(each.unexpected),
            )
            for each in outcome.counts
        ),
    ]
