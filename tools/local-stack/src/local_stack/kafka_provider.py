"""Chooses a Kafka: an existing one, the real one on this machine, or the in-memory one."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from local_stack.errors import StackError
from local_stack.kafka_jars import NoRealKafka
from local_stack.kafka_properties import KafkaPorts
from local_stack.kafka_real import RealKafka
from local_stack.processes import Child, Command

MEMORY_START_SECONDS = 20.0
# In the in-memory Kafka, a long poll does not end when data arrives, so consumers use short polls. It waits for a group
# member that has left as if it had crashed. With the default session, a restarted service would wait for ten seconds.
MEMORY_CLIENT_SETTINGS = {"KAFKA_FETCH_MAX_WAIT_MS": "20", "KAFKA_SESSION_TIMEOUT_MS": "3000"}


class KafkaChoice(StrEnum):
    """The values of CANDLEKEEP_KAFKA. `auto` is the real Kafka if possible, otherwise the in-memory one."""

    AUTO = "auto"
    REAL = "real"
    MEMORY = "memory"


@dataclass(frozen=True)
class ExistingKafka:
    """An existing broker, named by KAFKA_BOOTSTRAP_SERVERS. The stack does not start or stop it."""

    bootstrap: str
    is_real: bool = True
    control: str | None = None
    """The control port, if it is an in-memory Kafka."""
    child: None = None
    fresh: bool = False

    @property
    def description(self) -> str:
        return f"the Kafka at {self.bootstrap} (KAFKA_BOOTSTRAP_SERVERS)"

    async def stop(self) -> None:
        return


class MemoryKafka:
    def __init__(self, child: Child, bootstrap: str, control: str, reason: str) -> None:
        self.child = child
        self.bootstrap = bootstrap
        self.control = control
        self.is_real = False
        self.fresh = True
        self.description = f"in-memory fallback ({reason})"

    @classmethod
    async def start(cls, *, logs: Path, run: Path, reason: str) -> Self:
        address_file = run / "kafka-memory.json"
        address_file.unlink(missing_ok=True)
        argv = (sys.executable, "-m", "local_stack.kafka_memory", "--address-file", str(address_file))
        child = await Child.start(
            Command(name="the in-memory Kafka", argv=argv), log_file=logs / "kafka.log", pid_file=run / "kafka.pid"
        )
        deadline = time.monotonic() + MEMORY_START_SECONDS
        while not address_file.exists():
            if child.exit_code is not None or time.monotonic() > deadline:
                child.kill()
                await child.wait()
                message = " ".join(child.last_lines(1)) or "it did not answer"
                raise StackError(f"the in-memory Kafka could not start: {message} (log: {child.log_file})")
            await asyncio.sleep(0.02)
        address = json.loads(address_file.read_text())
        return cls(child, address["bootstrap"], address["control"], reason)

    async def stop(self) -> None:
        await self.child.stop()


Kafka = ExistingKafka | RealKafka | MemoryKafka


@dataclass(frozen=True, kw_only=True)
class KafkaPlace:
    """The folders for data, logs and pid file of a Kafka. `ports=None`: free ports."""

    data: Path
    logs: Path
    run: Path
    ports: KafkaPorts | None = None


async def start_kafka(
    place: KafkaPlace, report: Callable[[str], None], environment: Mapping[str, str] = os.environ
) -> Kafka:
    if bootstrap := environment.get("KAFKA_BOOTSTRAP_SERVERS"):
        return ExistingKafka(bootstrap)
    wanted = environment.get("CANDLEKEEP_KAFKA", KafkaChoice.AUTO)
    if wanted not in set(KafkaChoice):
        raise StackError(f"CANDLEKEEP_KAFKA is {wanted!r}; it may be {', '.join(KafkaChoice)}")
    reason = "requested by CANDLEKEEP_KAFKA"
    if wanted != KafkaChoice.MEMORY:
        try:
            return await RealKafka.start(data=place.data, logs=place.logs, run=place.run, ports=place.ports)
        except NoRealKafka as error:
            if wanted == KafkaChoice.REAL:
                raise
            reason = str(error)
    report(
        f"no Apache Kafka here ({reason}): using an in-memory Kafka, which loses all data when it stops "
        "and serves one member per consumer group"
    )
    return await MemoryKafka.start(logs=place.logs, run=place.run, reason=reason)


async def command_memory_kafka(control: str, lines: Iterable[str]) -> None:
    """Send commands to the control port of an in-memory Kafka. Raises StackError if a command fails."""
    host, _, port = control.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for line in lines:
            writer.write(f"{line}\n".encode())
            answer = (await reader.readline()).decode().strip()
            if answer != "ok":
                raise StackError(f"the in-memory Kafka refused {line!r}: {answer or 'no response'}")
    finally:
        writer.close()
        await writer.wait_closed()
