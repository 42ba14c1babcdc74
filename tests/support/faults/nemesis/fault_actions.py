"""Causes the planned faults on a running system, and ends them."""

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
from support.faults.nemesis.plan import PAGE_MOODS, FaultKind, PlannedFault
from support.faults.proxy import Mode, Proxy
from support.faults.system import RunningSystem
from support.faults.topic_records import read_records
from support.polling import eventually

UNREADABLE_KEY = b"?nemesis"
UNREADABLE = (b"{", b"\xff\xfe\x00", b'{"type": "Unheard"}', b'{"type": "RunFinished"}', b"[]" * 100_000)
RETRY_AFTER = 4
_REPLAYED = 400
_LONGEST_OUTAGE = 180.0
_MAX_OVERRUN = _LONGEST_OUTAGE + 5
"""Seconds that a fault may last longer than planned. On a busy machine a broker needs a minute to start."""
MOOD_REQUESTS: dict[str, dict[str, Any]] = {
    "rate_limit": {"kind": "rate_limit", "retry_after": RETRY_AFTER},
    "503": {"kind": "error", "status": 503},
    "slow": {"kind": "latency", "latency_ms": 4000},
    "unreachable": {"kind": "reset"},
    "maintenance": {"kind": "maintenance"},
    "truncated": {"kind": "truncated"},
    "refusal": {"kind": "refusal"},
    "no candles": {"kind": "no_candles"},
    **{name: {"kind": "page", "page": page} for name, page in PAGE_MOODS.items()},
}
_MODES: dict[str, Mode] = {
    "delay": "delay",
    "black hole": "black hole",
    "reset": "reset",
    "drop responses": "drop responses",
}
_DELAY_SECONDS = 0.3
_SIGNALS = {
    FaultKind.KILL: signal.SIGKILL,
    FaultKind.STOP: signal.SIGTERM,
    FaultKind.KAFKA_KILL: signal.SIGKILL,
    FaultKind.KAFKA_STOP: signal.SIGTERM,
    FaultKind.POSTGRES_KILL: signal.SIGQUIT,  # the signal of `pg_ctl -m immediate`
}


@dataclass
class FaultRunner:
    """Causes faults at their times. `log` is called with each fault and a note when the fault begins or fails."""

    system: RunningSystem
    postgres: Proxy
    kafka: Proxy
    log: Callable[[PlannedFault, str], None] = lambda _fault, _note: None
    injected: list[PlannedFault] = field(default_factory=list)
    missed: list[PlannedFault] = field(default_factory=list)
    """Faults that could not be caused, mostly because their target was already down."""
    _unreadable_values: Iterator[bytes] = field(default_factory=lambda: itertools.cycle(UNREADABLE))

    async def run_all(self, faults: tuple[PlannedFault, ...]) -> None:
        """Cause all faults at their times. Returns when the last one has ended."""
        begin = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            for fault in faults:
                tasks.create_task(self._run_at_its_time(fault, begin))

    async def _run_at_its_time(self, fault: PlannedFault, begin: float) -> None:
        await asyncio.sleep(begin + fault.begins - asyncio.get_running_loop().time())
        over = asyncio.create_task(asyncio.sleep(fault.ends - fault.begins))
        try:
            lasts = fault.ends - fault.begins
            self.system.record_fault(f"{fault.kind} {fault.how}".strip(), fault.target, until=now() + lasts)
            self.injected.append(fault)
            self.log(fault, "")
            async with asyncio.timeout(fault.ends - fault.begins + _MAX_OVERRUN):
                await self._cause(fault, over)
        except (StackError, httpx.HTTPError, KafkaError, TimeoutError, AssertionError) as error:
            self.injected.remove(fault)
            self.missed.append(fault)
            self.log(fault, f"could not be caused: {error!r}")
        await over

    async def _cause(self, fault: PlannedFault, over: asyncio.Task[None]) -> None:
        match fault.kind:
            case FaultKind.FREEZE:
                await self._freeze(fault.target, over)
            case FaultKind.FAILPOINT:
                await self._run_with_failpoint(fault.target, fault.how, over)
            case FaultKind.POSTGRES_CONNECTION:
                await _set_mode(self.postgres, _MODES[fault.how], over)
            case FaultKind.KAFKA_CONNECTION:
                await _set_mode(self.kafka, _MODES[fault.how], over)
            case FaultKind.MOOD:
                lasts = fault.ends - fault.begins
                await self.system.set_mood(MOOD_REQUESTS[fault.how] | {"exchange": fault.target, "for_seconds": lasts})
            case FaultKind.UNREADABLE:
                await self._send_unreadable()
            case FaultKind.REPLAY:
                await self._replay()
            case FaultKind.KAFKA_KILL | FaultKind.KAFKA_STOP | FaultKind.POSTGRES_KILL:
                await self._outage(fault.target, _SIGNALS[fault.kind])
            case _:
                await self._signal(fault.target, _SIGNALS[fault.kind])

    async def _signal(self, process: str, number: signal.Signals) -> None:
        if not self.system.stack.processes[process].is_running:
            raise StackError(f"{process} is already down")
        self.system.stack.processes[process].send(number)

    async def _outage(self, server: str, number: signal.Signals) -> None:
        """Stop the server. The outage ends when the server runs again; the services cannot influence this time."""
        keeper = self.system.stack.processes[server]
        before = keeper.running.child
        await self._signal(server, number)
        await eventually(lambda: keeper.is_running and keeper.running.child is not before, within=_LONGEST_OUTAGE)

    async def _freeze(self, process: str, over: asyncio.Task[None]) -> None:
        keeper = self.system.stack.processes[process]
        child = keeper.running.child
        await self._signal(process, signal.SIGSTOP)
        try:
            await asyncio.shield(over)
        finally:
            if child is not None:
                child.signal(signal.SIGCONT)

    async def _run_with_failpoint(self, process: str, failpoints: str, over: asyncio.Task[None]) -> None:
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

    async def _send_unreadable(self) -> None:
        """Send one unreadable message to each topic. The test finds them later by their key, even if unacknowledged."""
        async with self._producer() as producer:
            for topic in (TICKS, RUN_EVENTS, CANDLES):
                partition = self.system.random.randrange(topic.partitions)
                await producer.send_and_wait(
                    self._name(topic), next(self._unreadable_values), UNREADABLE_KEY, partition=partition
                )

    async def _replay(self) -> None:
        """Send some messages of the writers' topics again, in another order."""
        for topic in (RUN_EVENTS, CANDLES):
            records = [each for each in await read_records(self.system.stack, topic) if each.key != UNREADABLE_KEY]
            sample = self.system.random.sample(records, min(_REPLAYED, len(records)))
            async with self._producer() as producer:
                for record in sample:
                    await producer.send(self._name(topic), record.value, record.key, headers=list(record.headers))

    @asynccontextmanager
    async def _producer(self) -> AsyncIterator[AIOKafkaProducer]:
        """A producer with the broker's own address, so that the proxy's faults do not affect it."""
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


async def _set_mode(proxy: Proxy, mode: Mode, over: asyncio.Task[None]) -> None:
    proxy.set_mode(mode, _DELAY_SECONDS)
    try:
        await asyncio.shield(over)
    finally:
        proxy.set_mode("pass")
