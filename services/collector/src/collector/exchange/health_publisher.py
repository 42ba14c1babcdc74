"""Publishes the circuit states of exchanges, for people and for later owners of the lanes."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from collector.exchange.circuit_transitions import CircuitState
from contracts.exchanges import ExchangeHealthChanged
from contracts.topics import EXCHANGE_HEALTH
from contracts.vocabulary import ExchangeState
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.lifecycle.background import Background

_RETRY_SECONDS: Final = 2.0


class ExchangeHealthPublisher:
    """Publishes the newest state of each exchange. A state that is replaced before it was sent is never sent."""

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
        self._wake, self._stopping = asyncio.Event(), asyncio.Event()

    def report(self, exchange: str, circuit: CircuitState) -> None:
        """Schedule the state for publication, and return at once."""
        self._unsent[exchange] = health_event(exchange, circuit, self._collector, self._now(), self._monotonic())
        self._wake.set()

    def background(self) -> Background:
        return Background("exchange health publisher", self.run, self.stop)

    async def run(self) -> None:
        sending, stopping = asyncio.create_task(self._send_all()), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([sending, stopping], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending  # it ends only because of a defect: raise its exception
        finally:
            sending.cancel()
            stopping.cancel()
            await asyncio.wait([sending, stopping])

    async def stop(self) -> None:
        """Stop at once. States that Kafka has not acknowledged are dropped: they are soon outdated."""
        self._stopping.set()

    async def _send_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._unsent:
                await self._send(self._unsent.pop(next(iter(self._unsent))))

    async def _send(self, event: ExchangeHealthChanged) -> None:
        try:
            await self._publisher.publish(EXCHANGE_HEALTH, event)
        except PublishFailed:  # the publisher counts the failure, and readiness shows it
            self._unsent.setdefault(event.exchange, event)
            await asyncio.sleep(_RETRY_SECONDS)


def health_event(
    exchange: str, circuit: CircuitState, collector: str, now: datetime, monotonic: float
) -> ExchangeHealthChanged:
    """`circuit` as an event. `monotonic` is the time `now` on the clock of `circuit.until`, which becomes a date."""
    is_closed = circuit.state is ExchangeState.OK
    failure = None if is_closed else circuit.last_failure
    return ExchangeHealthChanged(
        occurred_at=now,
        exchange=exchange,
        state=circuit.state,
        until=None if is_closed else now + timedelta(seconds=max(0.0, circuit.until - monotonic)),
        error_class=failure.error_class if failure else None,
        reason=failure.message if failure else None,
        collector=collector,
    )
