"""Carries out what was planned, on a running system, and ends it again."""

import asyncio
import contextlib
import itertools
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from contracts.topics import CANDLES, RUN_EVENTS, TICKS, Topic
from local_stack.errors import StackError
from support.faults.history import now
from support.faults.nemesis.plan import FaultKind, PlannedFault
from support.faults.proxy import Mode, Proxy
from support.faults.records import read_records
from support.faults.system import Operated
from support.polling import eventually

POISON_KEY = b"?nemesis"
POISON = (b"{", b"\xff\xfe\x00", b'{"type": "Unheard"}', b'{"type": "RunFinished"}', b"[]" * 100_000)
RETRY_AFTER = 4
_REPLAYED = 400
_LONGEST_OUTAGE = 180.0
_PATIENCE = _LONGEST_OUTAGE + 5
"""Seconds by which a fault may outlast its plan: on a busy machine a broker needs a minute to start."""
_MOODS: dict[str, dict[str, Any]] = {
    "rate_limit": {"kind": "rate_limit", "retry_after": RETRY_AFTER},
    "503": {"kind": "error", "status": 503},
    "slow": {"kind": "latency", "latency_ms": 4000},
    "unreachable": {"kind": "reset"},
    "maintenance": {"kind": "maintenance"},
    "truncated": {"kind": "truncated"},
}
_MODES: dict[str, Mode] = {
    "delay": "delay",
    "black hole": "black hole",
    "reset": "reset",
    "swallow answers": "swallow answers",
}
_DELAY_SECONDS = 0.3
_SIGNALS = {
    FaultKind.KILL: signal.SIGKILL,
    FaultKind.STOP: signal.SIGTERM,
    FaultKind.KAFKA_KILL: signal.SIGKILL,
    FaultKind.KAFKA_STOP: signal.SIGTERM,
    FaultKind.POSTGRES_KILL: signal.SIGQUIT,  # what `pg_ctl -m immediate` sends
}


@dataclass
class Hands:
    """One fault at a time per target; `say` is told of each when it begins."""

    system: Operated
    postgres: Proxy
    kafka: Proxy
    say: Callable[[PlannedFault, str], None] = lambda _fault, _note: None
    injected: list[PlannedFault] = field(default_factory=list)
    missed: list[PlannedFault] = field(default_factory=list)
    """What could not be done, mostly because its target was dead already."""
    _poisons: Iterator[bytes] = field(default_factory=lambda: itertools.cycle(POISON))

    async def work(self, faults: tuple[PlannedFault, ...]) -> None:
        """All of them at their times; returns when the last one is over."""
        begin = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as work:
            for fault in faults:
                work.create_task(self._at_its_time(fault, begin))

    async def _at_its_time(self, fault: PlannedFault, begin: float) -> None:
        await asyncio.sleep(begin + fault.begins - asyncio.get_running_loop().time())
        over = asyncio.create_task(asyncio.sleep(fault.ends - fault.begins))
        try:
            lasts = fault.ends - fault.begins
            self.system.fault(f"{fault.kind} {fault.how}".strip(), fault.target, until=now() + lasts)
            self.injected.append(fault)
            self.say(fault, "")
            async with asyncio.timeout(fault.ends - fault.begins + _PATIENCE):
                await self._carry_out(fault, over)
        except (StackError, httpx.HTTPError, KafkaError, TimeoutError, AssertionError) as error:
            self.injected.remove(fault)
            self.missed.append(fault)
            self.say(fault, f"could not be done: {error!r}")
        await over

    async def _carry_out(self, fault: PlannedFault, over: asyncio.Task[None]) -> None:
        match fault.kind:
            case FaultKind.FREEZE:
                await self._freeze(fault.target, over)
            case FaultKind.FAILPOINT:
                await self._live_with(fault.target, fault.how, over)
            case FaultKind.POSTGRES_WAY:
                await _behave(self.postgres, _MODES[fault.how], over)
            case FaultKind.KAFKA_WAY:
                await _behave(self.kafka, _MODES[fault.how], over)
            case FaultKind.MOOD:
                lasts = fault.ends - fault.begins
                await self.system.set_mood(_MOODS[fault.how] | {"exchange": fault.target, "for_seconds": lasts})
            case FaultKind.POISON:
                await self._poison()
            case FaultKind.REPLAY:
                await self._replay()
            case FaultKind.KAFKA_KILL | FaultKind.KAFKA_STOP | FaultKind.POSTGRES_KILL:
                await self._outage(fault.target, _SIGNALS[fault.kind])
            case _:
                await self._signal(fault.target, _SIGNALS[fault.kind])

    async def _signal(self, process: str, number: signal.Signals) -> None:
        if not self.system.stack.processes[process].is_running:
            raise StackError(f"{process} is down already")
        self.system.stack.processes[process].send(number)

    async def _outage(self, server: str, number: signal.Signals) -> None:
        """It ends when the server is there again, which the services cannot hasten."""
        kept = self.system.stack.processes[server]
        before = kept.running.child
        await self._signal(server, number)
        await eventually(lambda: kept.is_running and kept.running.child is not before, within=_LONGEST_OUTAGE)

    async def _freeze(self, process: str, over: asyncio.Task[None]) -> None:
        kept = self.system.stack.processes[process]
        child = kept.running.child
        await self._signal(process, signal.SIGSTOP)
        try:
            await asyncio.shield(over)
        finally:
            if child is not None:
                child.signal(signal.SIGCONT)

    async def _live_with(self, process: str, failpoints: str, over: asyncio.Task[None]) -> None:
        environment = self.system.overrides.setdefault(process, {})
        environment["FAILPOINTS"] = failpoints
        try:
            with contextlib.suppress(StackError):
                await self._signal(process, signal.SIGKILL)
            await asyncio.shield(over)
        finally:
            environment["FAILPOINTS"] = ""
            with contextlib.suppress(StackError):
                await self._signal(process, signal.SIGKILL)

    async def _poison(self) -> None:
        """One of each topic that nobody can read; found again by their key, whether they were acknowledged or not."""
        async with self._producer() as producer:
            for topic in (TICKS, RUN_EVENTS, CANDLES):
                partition = self.system.random.randrange(topic.partitions)
                await producer.send_and_wait(self._name(topic), next(self._poisons), POISON_KEY, partition=partition)

    async def _replay(self) -> None:
        """Some of the latest that writers have read, once more and in another order."""
        for topic in (RUN_EVENTS, CANDLES):
            records = [each for each in await read_records(self.system.stack, topic) if each.key != POISON_KEY]
            again = self.system.random.sample(records, min(_REPLAYED, len(records)))
            async with self._producer() as producer:
                for record in again:
                    await producer.send(self._name(topic), record.value, record.key, headers=list(record.headers))

    @asynccontextmanager
    async def _producer(self) -> AsyncIterator[AIOKafkaProducer]:
        """By the broker's own address: what the nemesis does to the way must not hinder the nemesis."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.system.stack.kafka, max_request_size=2_000_000, enable_idempotence=True
        )
        try:
            await producer.start()
            yield producer
        finally:
            await producer.stop()

    def _name(self, topic: Topic) -> str:
        return f"{self.system.stack.options.topic_prefix}{topic.name}"


async def _behave(proxy: Proxy, mode: Mode, over: asyncio.Task[None]) -> None:
    proxy.be(mode, _DELAY_SECONDS)
    try:
        await asyncio.shield(over)
    finally:
        proxy.be("pass")
