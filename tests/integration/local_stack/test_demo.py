"""`make demo` as a stranger meets it: started twice, stopped by a signal, on the real Kafka and without one."""

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from local_stack.api_client import EXAMPLES, client
from local_stack.plan import SERVICES, SIMULATOR, Ports, plan_services
from local_stack.ports import is_free
from local_stack.processes import command_line
from support.polling import eventually

pytestmark = [pytest.mark.system, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(400)]


class Demo:
    def __init__(self, folder: Path, kafka: str) -> None:
        self.folder, self.kafka, self.port = folder, kafka, an_unused_port()
        self.output = folder / "output"

    async def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "CANDLEKEEP_ADMIN_TOKEN"}
        argv = ("-m", "local_stack", "demo", "--folder", str(self.folder / "demo"), "--port", str(self.port))
        with self.output.open("wb") as output:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *argv,
                env=environment | {"CANDLEKEEP_KAFKA": self.kafka},
                stdout=output,
                stderr=output,
            )
        await eventually(lambda: self.ended() or "Runs as they finish" in self.said(), within=150)
        assert not self.ended(), self.said()

    def said(self) -> str:
        return self.output.read_text()

    def ended(self) -> bool:
        return self.process.returncode is not None

    def pids(self) -> dict[str, int]:
        return {file.stem: json.loads(file.read_text())["pid"] for file in (self.folder / "demo" / "run").glob("*.pid")}

    async def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 30)

    def api(self) -> httpx.AsyncClient:
        token = (self.folder / "demo" / "token").read_text().strip()
        return client(f"http://127.0.0.1:{self.port}", token)


def an_unused_port() -> int:
    def all_free(first: int) -> bool:
        ports = Ports.fixed(first)
        wanted = [service.port for service in plan_services((*SERVICES, SIMULATOR), ports, {})]
        return all(map(is_free, [*wanted, ports.kafka.broker, ports.kafka.controller, ports.postgres]))

    return next(port for port in random.sample(range(20_000, 30_000, 20), 500) if all_free(port))


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as made:
        Path(made).chmod(0o711)  # for Postgres, run by an unprivileged user
        yield Path(made)


@pytest.mark.parametrize("kafka", ["auto", "memory"])
async def test_the_demo_collects_stops_cleanly_and_goes_on_where_it_was(folder: Path, kafka: str) -> None:
    demo = Demo(folder, kafka)
    await demo.start()
    try:
        await eventually(lambda: all(f"{symbol} " in demo.said() for symbol, *_ in EXAMPLES), within=60)
        async with demo.api() as api:
            configs = (await api.get("/configs")).json()
            logs = (await api.get("/execution-logs")).json()
        assert [(config["symbol"], config["exchange"]) for config in configs] == [
            (symbol, exchange) for symbol, exchange, _ in EXAMPLES
        ]
        pids = demo.pids()
        assert set(pids) >= {"kafka", "postgres", "stack", SIMULATOR.name, *(role.name for role in SERVICES)}
    finally:
        code = await demo.stop(signal.SIGINT)
    assert code == 0, demo.said()
    assert {name: command_line(pid) for name, pid in pids.items() if command_line(pid)} == {}
    assert demo.pids() == {}

    await demo.start()
    try:
        async with demo.api() as api:
            assert (await api.get("/configs")).json() == configs
            known = {log["id"] for log in (await api.get("/execution-logs", params={"limit": 1000})).json()}
            assert known >= {log["id"] for log in logs}
            run_id = (await api.post(f"/configs/{configs[0]['id']}/trigger")).json()["run_id"]

            async def finished() -> bool:
                rows = (await api.get("/execution-logs", params={"limit": 1000})).json()
                return any(row["run_id"] == run_id and row["status"] == "success" for row in rows)

            await eventually(finished, within=30, every=0.2)
    finally:
        code = await demo.stop(signal.SIGTERM)
    assert code == 0, demo.said()
