"""Publishes the circuit states of exchanges, for people and for later owners of the lanes."""

from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

from collector.exchange.circuit_transitions import CircuitState
from collector.exchange.newest_publisher import NewestPublisher
from contracts.bounds import shortened
from contracts.exchanges import ExchangeHealthChanged
from contracts.topics import EXCHANGE_HEALTH
from contracts.vocabulary import ExchangeState
from runtime.kafka.publisher import EventPublisher

LANE: ContextVar[str | None] = ContextVar("lane", default=None)
"""The lane of the current run. A change of the circuit is published for the lane whose request has caused it."""


class ExchangeHealthPublisher(NewestPublisher):
    """Publishes the newest state of each lane. If a newer state arrives before the previous one was sent, only the
    newer one is sent.
    """

    def __init__(
        self,
        publisher: EventPublisher,
        collector: str,
        monotonic: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`collector` names this instance; `monotonic` is the clock of `CircuitState.until`."""
        super().__init__(publisher, EXCHANGE_HEALTH)
        self._collector, self._monotonic, self._now = collector, monotonic, now

    def report(self, exchange: str, circuit: CircuitState) -> None:
        """Schedule the state for publication, and return at once."""
        lane = LANE.get() or exchange
        self.schedule(health_event(exchange, circuit, self._collector, self._now(), self._monotonic(), lane))


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
