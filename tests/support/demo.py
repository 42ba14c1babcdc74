"""Runs `make demo` as a separate process with its own folder and ports."""

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path

import httpx

from local_stack.api_client import client
from local_stack.plan import SERVICES, SIMULATOR, Ports, plan_services
from local_stack.ports import reserve
from local_stack.processes import open_log
from support.polling import eventually


class Demo:
    def __init__(self, folder: Path, kafka: str) -> None:
        self.folder, self.kafka, self.port = folder, kafka, an_unused_port()
        self.output = folder / "output"
        self.process: asyncio.subprocess.Process

    async def start(self) -> None:
        """Returns when the demo shows its runs."""
        await self.begin()
        await eventually(lambda: self.ended() or "Runs as they finish" in self.output_text(), within=400)
        assert not self.ended(), self.output_text()

    async def begin(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "CANDLEKEEP_ADMIN_TOKEN"}
        argv = ("-m", "local_stack", "demo", "--folder", str(self.folder / "demo"), "--port", str(self.port))
        self.output.unlink(missing_ok=True)
        with open_log(self.output) as output:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *argv,
                env=environment | {"CANDLEKEEP_KAFKA": self.kafka},
                stdout=output,
                stderr=output,
            )

    def output_text(self) -> str:
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
    """Reserves every port of a demo. A demo takes some of them seconds later, when another test could have them."""

    def reserve_all(first: int) -> bool:
        ports = Ports.fixed(first)
        service_ports = {service.port for service in plan_services((*SERVICES, SIMULATOR), ports, {})}
        return reserve(service_ports | {ports.kafka.broker, ports.kafka.controller, ports.postgres})

    return next(port for port in random.sample(range(20_000, 30_000, 20), 500) if reserve_all(port))
