"""Tells everybody how exchanges fare, for people to see. Nothing of ours depends on its arriving."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from collector.exchange.circuit_state import CircuitState
from contracts.exchanges import ExchangeHealthChanged
from contracts.topics import EXCHANGE_HEALTH
from contracts.vocabulary import ExchangeState
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.lifecycle.background import Background

_PAUSE_SECONDS: Final = 2.0


class ExchangeHealthPublisher:
    """Publishes the newest state of each exchange; one that was overtaken before Kafka took it is not sent."""

    def __init__(
        self,
        publisher: EventPublisher,
        collector: str,
        monotonic: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`collector` names this instance; `monotonic` is the clock of `Health.until`."""
        self._publisher, self._collector, self._monotonic, self._now = publisher, collector, monotonic, now
        self._waiting: dict[str, ExchangeHealthChanged] = {}
        self._wake, self._stopping = asyncio.Event(), asyncio.Event()

    def report(self, exchange: str, health: CircuitState) -> None:
        """Returns at once."""
        self._waiting[exchange] = health_event(exchange, health, self._collector, self._now(), self._monotonic())
        self._wake.set()

    def background(self) -> Background:
        return Background("exchange news", self.run, self.stop)

    async def run(self) -> None:
        sending, stopping = asyncio.create_task(self._send_all()), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([sending, stopping], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending  # it ends only by a defect, which is to be seen
        finally:
            sending.cancel()
            stopping.cancel()
            await asyncio.wait([sending, stopping])

    async def stop(self) -> None:
        """Whatever Kafka has not taken by now is of no interest any more."""
        self._stopping.set()

    async def _send_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._send(self._waiting.pop(next(iter(self._waiting))))

    async def _send(self, event: ExchangeHealthChanged) -> None:
        try:
            await self._publisher.publish(EXCHANGE_HEALTH, event)
        except PublishFailed:  # the publisher counts it, and readiness shows it
            self._waiting.setdefault(event.exchange, event)
            await asyncio.sleep(_PAUSE_SECONDS)


def health_event(
    exchange: str, health: CircuitState, collector: str, now: datetime, monotonic: float
) -> ExchangeHealthChanged:
    """`health` as an event. Its `until`, of the monotonic clock that shows `monotonic` at `now`, becomes a date."""
    well = health.state is ExchangeState.OK
    why = None if well else health.why
    return ExchangeHealthChanged(
        occurred_at=now,
        exchange=exchange,
        state=health.state,
        until=None if well else now + timedelta(seconds=max(0.0, health.until - monotonic)),
        error_class=why.error_class if why else None,
        reason=why.message if why else None,
        collector=collector,
    )
