"""`make demo` is killed at any moment and started again: the grid stays the same, no run or process is left over."""

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from local_stack.folder import Folder
from local_stack.plan import SIMULATOR
from scheduler.grid import grid_of
from support.demo import Demo
from support.faults.checker import check
from support.faults.collect_evidence import collect_evidence
from support.faults.evidence import Evidence, Rules
from support.faults.history import Call, History, now
from support.polling import eventually

pytestmark = [
    pytest.mark.faults,
    pytest.mark.kafka,
    pytest.mark.real_kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(900),
]
SEED = 20_261_122
SPREAD_MS = 300_000


@dataclass(frozen=True)
class Kill:
    """`everything`: all processes are killed, as in a power failure. Otherwise the children of `make demo` continue."""

    when: str
    everything: bool


KILLS = (
    Kill("starting", everything=False),
    Kill("starting", everything=True),
    Kill("ready", everything=True),
    Kill("collecting", everything=False),
    Kill("collecting", everything=True),
)


@pytest.fixture
def demo() -> Iterator[Demo]:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # Postgres runs as an unprivileged user
        yield Demo(Path(folder), "auto")


async def test_a_killed_demo_continues_on_the_same_grid_and_leaves_no_run_open(demo: Demo) -> None:
    print(f"seed {SEED}")
    moments = random.Random(SEED)
    try:
        for kill in KILLS:
            await run_until(demo, kill, moments)
            await kill_demo(demo, everything=kill.everything)
            print(
                f"killed while {kill.when}, everything: {kill.everything}; its output was:\n{demo.output_text()[-500:]}"
            )
        await demo.start()
        evidence = await check_evidence(demo, since=now())
        pids = demo.pids()
        code = await demo.stop(signal.SIGTERM)
        assert code == 0, demo.output_text()
        assert demo.pids() == {}
        assert processes_of(demo) == [], pids
    finally:
        if not demo.ended():
            demo.process.kill()
        for pid in processes_of(demo):
            os.kill(pid, signal.SIGKILL)
    assert slots_off_the_grid(evidence) == []


async def run_until(demo: Demo, kill: Kill, moments: random.Random) -> None:
    if kill.when == "starting":
        await demo.begin()
        await asyncio.sleep(moments.uniform(0.3, 8))  # the seed decides the moment of the fault
        return
    await demo.start()
    if kill.when == "collecting":
        await asyncio.sleep(moments.uniform(0, 5))
        async with httpx.AsyncClient(base_url=simulator_url(demo), timeout=60) as simulator:
            (await simulator.post("/control/moods", json={"kind": "latency", "latency_ms": 4000})).raise_for_status()
        async with demo.api() as api:
            for config in (await api.get("/configs")).json():
                (await api.post(f"/configs/{config['id']}/trigger")).raise_for_status()
            await eventually(lambda: a_run_is_in_progress(api), within=30)
        await asyncio.sleep(moments.uniform(0, 0.3))


async def a_run_is_in_progress(api: httpx.AsyncClient) -> bool:
    running = await api.get("/execution-logs", params={"status": "running"})
    return bool(running.json())


async def kill_demo(demo: Demo, *, everything: bool) -> None:
    demo.process.kill()
    await demo.process.wait()
    for pid in processes_of(demo) if everything else ():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def processes_of(demo: Demo) -> list[int]:
    """All processes that the demo started, directly or indirectly. They have its folder in their environment."""
    marker = f"CANDLEKEEP_RUN_FOLDER={Folder((demo.folder / 'demo').absolute()).run}\0".encode()
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker in environment.read_bytes():
                found.append(int(environment.parent.name))
        except OSError:
            continue
    return found


async def check_evidence(demo: Demo, since: float) -> Evidence:
    """Wait until every config had a slot since `since`, no older run is open, and there is no violation."""
    until = since + 65
    async with demo.api() as api:
        configs = (await api.get("/configs")).json()
    assert len(configs) == 4

    async def complete() -> Evidence:
        assert now() > until + 3
        evidence = await collect_evidence(
            stack_of(demo),
            read_file(demo, "database_urls/superuser"),
            history(configs),
            Rules(spread_ms=SPREAD_MS),
            until=until,
        )
        assert [run for run in evidence.runs if run.status == "running" and run.started_at < since] == []
        violations = check(evidence)
        assert violations == [], "\n".join(map(str, violations[:20]))
        return evidence

    return await eventually(complete, within=150, every=2)


def history(configs: list[dict[str, Any]]) -> History:
    return History(
        entries=[
            Call(
                at=created,
                verb="create",
                outcome="ok",
                config_id=config["id"],
                subject=f"{config['exchange']}|{config['symbol']}",
                version=config["version"],
                since=created,
                interval_minutes=config["interval_minutes"],
                enabled=config["enabled"],
            )
            for config in configs
            for created in [datetime.fromisoformat(config["updated_at"]).timestamp()]
        ]
    )


def stack_of(demo: Demo) -> Any:
    """The attributes of a stack that `collect_evidence` uses. The real stack runs in another process."""
    return SimpleNamespace(
        kafka=read_file(demo, "kafka"),
        options=SimpleNamespace(topic_prefix=""),
        folder=Folder(demo.folder / "demo"),
        simulator_url=simulator_url(demo),
    )


def simulator_url(demo: Demo) -> str:
    return f"http://127.0.0.1:{demo.port + SIMULATOR.port_offset}"


def read_file(demo: Demo, name: str) -> str:
    return (demo.folder / "demo" / name).read_text().strip()


def slots_off_the_grid(evidence: Evidence) -> list[str]:
    slots = [(run.config_id, round(run.scheduled_for * 1000)) for run in evidence.runs if run.trigger == "scheduled"]
    assert len(slots) >= len(evidence.configs)
    grids = {config_id: grid_of(config_id, 1, SPREAD_MS) for config_id in evidence.configs}
    return [f"config {config_id}: {slot}" for config_id, slot in slots if grids[config_id].slot_at(slot) != slot]
