import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from collector.exchange.circuit_transitions import CLOSED, CircuitState
from collector.exchange.failures import ExchangeFailure
from collector.exchange.health_publisher import LANE, ExchangeHealthPublisher, health_event
from contracts.exchanges import ExchangeHealthChanged
from contracts.vocabulary import ErrorClass, ExchangeState
from runtime.kafka.publisher import PublishFailed
from support.polling import eventually

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
BANNED = CircuitState(ExchangeState.BANNED, 1120.0, 0, ExchangeFailure(ErrorClass.BANNED, "too much", retryable=True))


class Publisher:
    """Stores events; the first `refusals` publications fail."""

    def __init__(self, refusals: int = 0, acknowledges_after: float = 0.0) -> None:
        self.refusals, self.acknowledges_after = refusals, acknowledges_after
        self.events: list[Any] = []

    async def publish(self, topic: Any, event: ExchangeHealthChanged) -> None:
        if self.refusals:
            self.refusals -= 1
            raise PublishFailed("no acknowledgement in time")
        await asyncio.sleep(self.acknowledges_after)
        self.events.append(event)


def test_the_monotonic_end_becomes_a_date() -> None:
    event = health_event("binance", BANNED, "here:1", NOW, 1000.0)
    assert event.until == NOW + timedelta(seconds=120)
    assert (event.state, event.error_class, event.reason) == (ExchangeState.BANNED, ErrorClass.BANNED, "too much")


def test_the_event_of_a_closed_circuit_has_no_end_and_no_reason() -> None:
    event = health_event("binance", CLOSED, "here:1", NOW, 1000.0)
    assert (event.until, event.error_class, event.reason) == (None, None, None)


async def test_only_the_newest_state_of_each_exchange_is_sent() -> None:
    publisher = Publisher()
    health_publisher = ExchangeHealthPublisher(publisher, "here:1", lambda: 1000.0, lambda: NOW)  # type: ignore[arg-type]
    health_publisher.report("binance", BANNED)
    health_publisher.report("kraken", CLOSED)
    health_publisher.report("binance", CLOSED)
    task = asyncio.create_task(health_publisher.run())
    await eventually(lambda: len(publisher.events) == 2, within=5)
    await health_publisher.stop()
    await task
    assert {(each.exchange, each.state) for each in publisher.events} == {
        ("binance", ExchangeState.OK),
        ("kraken", ExchangeState.OK),
    }


async def test_a_refused_state_is_sent_again_and_stopping_waits_for_two_seconds_only() -> None:
    publisher = Publisher(refusals=1)
    health_publisher = ExchangeHealthPublisher(publisher, "here:1", lambda: 1000.0, lambda: NOW)  # type: ignore[arg-type]
    task = asyncio.create_task(health_publisher.run())
    health_publisher.report("binance", BANNED)
    await eventually(lambda: [each.exchange for each in publisher.events] == ["binance"], within=10)
    publisher.refusals = 10**9
    health_publisher.report("binance", CLOSED)
    await health_publisher.stop()
    async with asyncio.timeout(4):
        await task


async def test_a_ban_that_was_reported_just_before_the_stop_is_sent() -> None:
    publisher = Publisher(acknowledges_after=0.1)
    health_publisher = ExchangeHealthPublisher(publisher, "here:1", lambda: 1000.0, lambda: NOW)  # type: ignore[arg-type]
    task = asyncio.create_task(health_publisher.run())
    health_publisher.report("binance", BANNED)
    await health_publisher.stop()
    await task
    assert [each.state for each in publisher.events] == [ExchangeState.BANNED]


async def test_the_states_of_two_lanes_of_an_exchange_are_kept_apart() -> None:
    publisher = Publisher()
    health_publisher = ExchangeHealthPublisher(publisher, "here:1", lambda: 1000.0, lambda: NOW)  # type: ignore[arg-type]
    for lane, circuit in (("binance#0", BANNED), ("binance#1", CLOSED)):
        LANE.set(lane)
        health_publisher.report("binance", circuit)
    LANE.set(None)
    task = asyncio.create_task(health_publisher.run())
    await health_publisher.stop()
    await task
    assert {(each.key(), each.exchange, each.state) for each in publisher.events} == {
        ("binance#0", "binance", ExchangeState.BANNED),
        ("binance#1", "binance", ExchangeState.OK),
    }
