import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from collector.exchange.circuit_state import CLOSED, CircuitState
from collector.exchange.failures import ExchangeFailure
from collector.exchange.health_publisher import ExchangeHealthPublisher, health_event
from contracts.exchanges import ExchangeHealthChanged
from contracts.vocabulary import ErrorClass, ExchangeState
from runtime.kafka.publisher import PublishFailed
from support.polling import eventually

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
BANNED = CircuitState(ExchangeState.BANNED, 1120.0, 0, ExchangeFailure(ErrorClass.BANNED, "too much", retryable=True))


class Publisher:
    """Takes events, but for the first `refusals`."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.events: list[Any] = []

    async def publish(self, topic: Any, event: ExchangeHealthChanged) -> None:
        if self.refusals:
            self.refusals -= 1
            raise PublishFailed("away")
        self.events.append(event)


def test_the_clock_of_the_process_becomes_a_date() -> None:
    event = health_event("binance", BANNED, "here:1", NOW, 1000.0)
    assert event.until == NOW + timedelta(seconds=120)
    assert (event.state, event.error_class, event.reason) == (ExchangeState.BANNED, ErrorClass.BANNED, "too much")


def test_of_an_exchange_that_is_well_nothing_more_is_said() -> None:
    event = health_event("binance", CLOSED, "here:1", NOW, 1000.0)
    assert (event.until, event.error_class, event.reason) == (None, None, None)


async def test_the_newest_state_is_sent_once_kafka_takes_it_and_an_overtaken_one_is_not() -> None:
    publisher = Publisher()
    news = ExchangeHealthPublisher(publisher, "here:1", lambda: 1000.0, lambda: NOW)  # type: ignore[arg-type]
    news.report("binance", BANNED)
    news.report("kraken", CLOSED)
    news.report("binance", CLOSED)
    running = asyncio.create_task(news.run())
    await eventually(lambda: len(publisher.events) == 2, within=5)
    await news.stop()
    await running
    assert {(each.exchange, each.state) for each in publisher.events} == {
        ("binance", ExchangeState.OK),
        ("kraken", ExchangeState.OK),
    }


async def test_what_kafka_refused_is_sent_later_and_stopping_waits_for_nothing() -> None:
    publisher = Publisher(refusals=1)
    news = ExchangeHealthPublisher(publisher, "here:1", lambda: 1000.0, lambda: NOW)  # type: ignore[arg-type]
    running = asyncio.create_task(news.run())
    news.report("binance", BANNED)
    await eventually(lambda: [each.exchange for each in publisher.events] == ["binance"], within=10)
    publisher.refusals = 10**9
    news.report("binance", CLOSED)
    await news.stop()
    async with asyncio.timeout(1):
        await running
