"""Publishes the circuit states of exchanges, for people and for later owners of the lanes."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Final

from collector.exchange.circuit_transitions import CircuitState
from contracts.bounds import shortened
from contracts.exchanges import ExchangeHealthChanged
from contracts.topics import EXCHANGE_HEALTH
from contracts.vocabulary import ExchangeState
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.lifecycle.background import Background

_RETRY_SECONDS: Final = 2.0
_LAST_SEND_SECONDS: Final = 2.0
"""How long a stop waits for the last states. A ban that was found just before must survive the restart."""

LANE: ContextVar[str | None] = ContextVar("lane", default=None)
"""The lane of the current run. A change of the circuit is published for the lane whose request has caused it."""


class ExchangeHealthPublisher:
    """Publishes the newest state of each lane. If a newer state replaces a state that is not sent yet, only the newer
    one is sent.
    """

    def __init__(
        self,
        publisher: EventPublisher,
        collector: str,
        monotonic: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`collector` names this instance; `monotonic` is the clock of `CircuitState.until`."""
        self._publisher, self._collector, self._monotonic, self._now = publisher, collector, monotonic, now
        self._unsent: dict[str, ExchangeHealthChanged] = {}
        self._wake, self._stopping, self._all_sent = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._all_sent.set()

    def report(self, exchange: str, circuit: CircuitState) -> None:
        """Schedule the state for publication, and return at once."""
        lane = LANE.get() or exchange
        self._unsent[lane] = health_event(exchange, circuit, self._collector, self._now(), self._monotonic(), lane)
        self._all_sent.clear()
        self._wake.set()

    def background(self) -> Background:
        return Background("exchange health publisher", self.run, self.stop)

    async def run(self) -> None:
        sending, stopping = asyncio.create_task(self._send_all()), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([sending, stopping], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending  # it ends only because of a defect: raise its exception
            await self._send_last()
        finally:
            sending.cancel()
            stopping.cancel()
            await asyncio.wait([sending, stopping])

    async def stop(self) -> None:
        """Stop within two seconds. States that Kafka has not acknowledged by then are dropped."""
        self._stopping.set()

    async def _send_last(self) -> None:
        """Wait until all states are sent, but not longer than two seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SEND_SECONDS):
                await self._all_sent.wait()

    async def _send_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._unsent:
                await self._send(self._unsent.pop(next(iter(self._unsent))))
            self._all_sent.set()

    async def _send(self, event: ExchangeHealthChanged) -> None:
        try:
            await self._publisher.publish(EXCHANGE_HEALTH, event)
        except PublishFailed:  # the publisher counts the failure, and readiness shows it
            self._unsent.setdefault(event.key(), event)
            await asyncio.sleep(_RETRY_SECONDS)


def health_event(
    exchange: str, circuit: CircuitState, collector: str, now: datetime, monotonic: float, lane: str | None = None
) -> ExchangeHealthChanged:
    """`circuit` as an event. `monotonic` is the time `now` on the clock of `circuit.until`, which becomes a date."""
    is_closed = circuit.state is ExchangeState.OK
    failure = None if is_closed else circuit.last_failure
    return ExchangeHealthChanged(
        occurred_at=now,
        exchange=exchange,
        lane=lane,
        state=circuit.state,
        until=None if is_closed else now + timedelta(seconds=max(0.0, circuit.until - monotonic)),
        error_class=failure.error_class if failure else None,
        reason=shortened(failure.message) if failure else None,
        collector=collector,
    )


def host_of(collector: str) -> str:
    """The host in the name of a collector, which is host:pid."""
    return collector.rpartition(":")[0]
