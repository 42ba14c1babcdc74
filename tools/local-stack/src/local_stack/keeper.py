"""Runs one Kafka or one Postgres while another process lives. Tests and benchmarks share it.

    python -m local_stack.keeper kafka --folder FOLDER --while-pid PID

When it can be used, it writes `FOLDER/kafka.json`; if it cannot start, it writes `FOLDER/kafka.error` with one line.
It stops after SIGTERM, and after the end of the watched process, so that a killed test run leaves no processes.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from local_stack.errors import StackError
from local_stack.kafka_provider import ExistingKafka, KafkaPlace, start_kafka
from local_stack.postgres import PostgresPlace, start_postgres
from local_stack.processes import command_line
from runtime.waiting import wait_for_event

WATCH_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class KeptKafka:
    bootstrap: str
    is_real: bool
    description: str
    control: str | None
    """The control port, if it is an in-memory Kafka: see `local_stack.kafka_memory`."""

    @property
    def existing(self) -> ExistingKafka:
        """This Kafka, as an option of a stack."""
        return ExistingKafka(self.bootstrap, is_real=self.is_real, control=self.control)


@dataclass(frozen=True, kw_only=True)
class KeptPostgres:
    url: str
    description: str


Service = Literal["kafka", "postgres"]
Started = tuple[KeptKafka | KeptPostgres, Callable[[], Awaitable[None]]]
"""The announced address of the service, and the way to stop it."""
Start = Callable[[Service, Path], Awaitable[Started]]


async def keep(what: Service, folder: Path, watched_pid: int, start: Start) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    watched = command_line(watched_pid)
    kept, stop = await start(what, folder)
    try:
        _announce(folder / f"{what}.json", kept)
        while (is_alive := _is_alive(watched_pid, watched)) and not stopped.is_set():
            await wait_for_event(stopped, WATCH_SECONDS)
    finally:
        await stop()
    if not is_alive:
        shutil.rmtree(folder, ignore_errors=True)  # the watched process can no longer do it


def _is_alive(pid: int, as_command: str | None) -> bool:
    return as_command is not None and command_line(pid) == as_command


async def start_natively(what: Service, folder: Path) -> Started:
    data, logs, run = folder / f"{what}-data", folder / "logs", folder / "run"
    if what == "kafka":
        kafka = await start_kafka(KafkaPlace(data=data, logs=logs, run=run), print)
        address, control = kafka.bootstrap, kafka.control
        kept = KeptKafka(bootstrap=address, is_real=kafka.is_real, description=kafka.description, control=control)
        return kept, kafka.stop
    postgres = await start_postgres(PostgresPlace(data=data, logs=logs, run=run, durable=False), print)
    return KeptPostgres(url=postgres.url, description=postgres.description), postgres.stop


def _announce(file: Path, kept: KeptKafka | KeptPostgres) -> None:
    partial = file.with_suffix(".part")
    partial.write_text(json.dumps(asdict(kept)))
    partial.rename(file)


def main(start: Start = start_natively) -> None:
    arguments = argparse.ArgumentParser(prog="python -m local_stack.keeper", description=__doc__)
    arguments.add_argument("what", choices=["kafka", "postgres"])
    arguments.add_argument("--folder", type=Path, required=True)
    arguments.add_argument("--while-pid", type=int, default=os.getppid())
    chosen = arguments.parse_args()
    try:
        asyncio.run(keep(chosen.what, chosen.folder, chosen.while_pid, start))
    except StackError as error:
        (chosen.folder / f"{chosen.what}.error").write_text(str(error))
        sys.exit(str(error))


if __name__ == "__main__":
    main()
