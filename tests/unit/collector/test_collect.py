"""One run with a fake exchange and a fake Kafka."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from collector.exchange.clients import CandleResponse
from collector.exchange.failures import ExchangeFailure, RequestDeferred
from collector.exchange.traits import ExchangeTraits, traits_of
from collector.metrics import CollectorMetrics
from collector.run.collector import Collector
from collector.run.outcomes import Outcomes, Run
from collector.run.retry_policy import RetryPolicy
from contracts.candles import CandlesCollected
from contracts.event import Event
from contracts.runs import RunFinished, RunStarted
from contracts.topics import CANDLES, RUN_EVENTS, Topic
from contracts.vocabulary import ErrorClass, RunStatus
from runtime.kafka.publisher import PublishFailed
from support.collecting import a_tick

NOW = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
MINUTE = 60_000
OPENING = NOW_MS // MINUTE * MINUTE


def minutes_since(since: int, limit: int) -> list[list[float]]:
    return [[at, 1.0, 2.0, 0.5, 1.5, 9.0] for at in range(since, OPENING + 1, MINUTE)][:limit]


@dataclass
class FakeExchange:
    """Sends the rows that `rows_for` returns. It replaces `ExchangeClients` and `ExchangeClient`."""

    rows_for: Callable[[str, int, int], list[list[float]]] = lambda _, since, limit: minutes_since(since, limit)
    exchange: str = "binance"
    as_of_ms: dict[str, int] = field(default_factory=dict)
    remark_if_silent: str | None = None

    @property
    def traits(self) -> ExchangeTraits:
        return traits_of(self.exchange)

    def get(self, _exchange: str) -> "FakeExchange":
        return self

    def now_ms(self) -> int:
        return NOW_MS

    def page_limit(self, _symbol: str) -> int:
        return 10

    async def require(self, _symbol: str, _timeframe: str) -> None:
        return

    async def remark(self, _symbol: str, refresh_until: float | None) -> str | None:
        return self.remark_if_silent if refresh_until is not None else None

    async def fetch(self, _symbol: str, timeframe: str, since: int, limit: int) -> CandleResponse:
        return CandleResponse(self.rows_for(timeframe, since, limit), self.as_of_ms.get(timeframe, NOW_MS), NOW)


@dataclass
class FakeKafka:
    """Stores published events. `refusals`: the number of publications to a topic that fail first."""

    events: list[Event] = field(default_factory=list)
    refusals: dict[str, int] = field(default_factory=dict)

    async def publish(self, topic: Topic, event: Event) -> None:
        await self.publish_many(topic, [event])

    async def publish_many(self, topic: Topic, events: list[Event]) -> None:
        if self.refusals.get(topic.name, 0) > 0:
            self.refusals[topic.name] -= 1
            raise PublishFailed(f"{topic.name}: no acknowledgement in time")
        self.events += events

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


async def run(exchange: FakeExchange, kafka: FakeKafka, **tick: Any) -> RunFinished:
    metrics = CollectorMetrics(CollectorRegistry())
    outcomes = Outcomes(kafka, metrics, "here:1")  # type: ignore[arg-type]
    policy = RetryPolicy(initial_wait=0.001, max_wait=0.002)
    collector = Collector(clients=exchange, publisher=kafka, outcomes=outcomes, metrics=metrics, policy=policy)  # type: ignore[arg-type]
    await collector.collect(Run(a_tick(**tick), NOW))
    [finished] = kafka.of(RunFinished)
    assert kafka.events[-1] is finished
    return finished


async def test_a_run_reports_its_start_its_candles_and_its_end() -> None:
    kafka = FakeKafka()
    finished = await run(FakeExchange(), kafka)
    [started], [candles] = kafka.of(RunStarted), kafka.of(CandlesCollected)
    assert (started.run_id, started.deadline_at, started.collector) == (
        finished.run_id,
        NOW + timedelta(seconds=20),
        "here:1",
    )
    assert (finished.status, finished.records_collected) == (RunStatus.SUCCESS, 9)
    assert finished.covered_until == NOW.replace(second=0)
    assert [candle.open_ms for candle in candles.rows] == [OPENING - n * MINUTE for n in range(9, 0, -1)]
    assert (candles.run_id, candles.fetched_at) == (finished.run_id, NOW)
    [result] = finished.results
    assert (result.candles, result.pages) == (9, 1)
    assert (result.first_open, result.last_open) == (NOW.replace(second=0, minute=51, hour=11), candles_end(candles))


@pytest.mark.parametrize("is_silent", [True, False])
async def test_the_remark_about_a_silent_market_is_in_the_result(is_silent: bool) -> None:
    exchange = FakeExchange(remark_if_silent="binance lists MATIC/USDT as not active")
    if is_silent:
        exchange.rows_for = lambda _timeframe, _since, _limit: []
    finished = await run(exchange, FakeKafka())
    assert finished.status is RunStatus.SUCCESS
    assert finished.results[0].note == ("binance lists MATIC/USDT as not active" if is_silent else None)


async def test_a_step_of_the_wall_clock_during_a_run_does_not_change_its_duration() -> None:
    """The run starts at NOW. When it ends, the wall clock of this process shows a very different time."""
    finished = await run(FakeExchange(), FakeKafka())
    assert timedelta(0) <= finished.finished_at - finished.started_at < timedelta(seconds=20)


def candles_end(candles: CandlesCollected) -> datetime:
    return datetime.fromtimestamp(candles.rows[-1].open_ms / 1000, UTC)


async def test_overlapping_candles_of_pages_are_published_once() -> None:
    kafka = FakeKafka()
    finished = await run(FakeExchange(), kafka, window_start=NOW - timedelta(minutes=30))
    opens = [candle.open_ms for event in kafka.of(CandlesCollected) for candle in event.rows]
    assert opens == [OPENING - n * MINUTE for n in range(31, 0, -1)]
    assert (finished.records_collected, finished.results[0].pages) == (31, 4)


async def test_a_failed_timeframe_fails_the_run_and_not_the_other_timeframes() -> None:
    def rows_for(timeframe: str, since: int, limit: int) -> list[list[float]]:
        if timeframe == "1h":
            raise ExchangeFailure(ErrorClass.NOT_SUPPORTED, "binance has no 1h candles", retryable=False)
        return minutes_since(since, limit)

    kafka = FakeKafka()
    finished = await run(FakeExchange(rows_for), kafka, timeframes=("1m", "1h"))
    assert (finished.status, finished.error_class) == (RunStatus.FAILED, ErrorClass.NOT_SUPPORTED)
    assert finished.error_message == "1 of 2 timeframes failed. 1h: binance has no 1h candles"
    assert [result.candles for result in finished.results] == [9, 0]
    assert finished.covered_until is None
    assert len(kafka.of(CandlesCollected)) == 1


async def test_the_earliest_timeframe_decides_what_is_covered() -> None:
    exchange = FakeExchange(lambda _timeframe, _since, _limit: [], as_of_ms={"1m": NOW_MS, "1h": NOW_MS - 2 * MINUTE})
    finished = await run(exchange, FakeKafka(), timeframes=("1m", "1h"))
    assert finished.covered_until == NOW.replace(second=0) - timedelta(minutes=2)


async def test_a_window_from_the_future_covers_nothing() -> None:
    finished = await run(FakeExchange(), FakeKafka(), window_start=NOW + timedelta(hours=1))
    assert (finished.status, finished.covered_until) == (RunStatus.SUCCESS, None)


async def test_a_page_with_invalid_rows_is_requested_again_and_not_stored() -> None:
    requests = []

    def rows_for(_timeframe: str, since: int, limit: int) -> list[list[float]]:
        requests.append(since)
        rows = minutes_since(since, limit)
        if len(requests) < 3:
            rows[2][2] = 0.1  # high below low
        return rows

    kafka = FakeKafka()
    finished = await run(FakeExchange(rows_for), kafka)
    assert (finished.status, len(requests), finished.records_collected) == (RunStatus.SUCCESS, 3, 9)


async def test_pages_before_a_failure_are_published() -> None:
    def rows_for(_timeframe: str, since: int, limit: int) -> list[list[float]]:
        if since > OPENING - 20 * MINUTE:
            raise ExchangeFailure(ErrorClass.BANNED, "banned", retryable=True, retry_after=3600)
        return minutes_since(since, limit)

    kafka = FakeKafka()
    finished = await run(FakeExchange(rows_for), kafka, window_start=NOW - timedelta(minutes=30))
    assert (finished.status, finished.error_class) == (RunStatus.FAILED, ErrorClass.BANNED)
    assert finished.records_collected == sum(len(event.rows) for event in kafka.of(CandlesCollected)) > 0


async def test_a_run_with_an_open_circuit_ends_at_once_with_the_reason_and_covers_nothing() -> None:
    def rows_for(*_: Any) -> list[list[float]]:
        message = "binance has banned this IP address until 12:31:05 UTC; the next run collects what this one did not."
        raise RequestDeferred(
            ErrorClass.BANNED, message, wait=3600, until_is_known=True, circuit_changed=asyncio.Event()
        )

    kafka = FakeKafka()
    finished = await run(FakeExchange(rows_for), kafka, timeframes=("1m", "1h"))
    assert (finished.status, finished.error_class) == (RunStatus.FAILED, ErrorClass.BANNED)
    assert "until 12:31:05 UTC" in (finished.error_message or "")
    assert (finished.covered_until, [result.pages for result in finished.results]) == (None, [0, 0])
    assert kafka.of(CandlesCollected) == []


async def test_a_run_waits_for_its_exchange_without_counting_retries() -> None:
    changed, requests = asyncio.Event(), []

    def rows_for(_timeframe: str, since: int, limit: int) -> list[list[float]]:
        requests.append(since)
        if len(requests) <= 30:
            changed.set()
            raise RequestDeferred(
                ErrorClass.RATE_LIMITED, "not now", wait=None, until_is_known=True, circuit_changed=changed
            )
        return minutes_since(since, limit)

    finished = await run(FakeExchange(rows_for), FakeKafka())
    assert (finished.status, len(requests)) == (RunStatus.SUCCESS, 31)


@pytest.mark.parametrize(("wait", "known", "collected"), [(0.5, True, True), (0.5, False, False), (0.001, False, True)])
async def test_a_run_waits_if_the_end_is_known_or_near(wait: float, known: bool, collected: bool) -> None:
    requests = []

    def rows_for(_timeframe: str, since: int, limit: int) -> list[list[float]]:
        requests.append(since)
        if len(requests) == 1:
            raise RequestDeferred(
                ErrorClass.MAINTENANCE, "not now", wait=wait, until_is_known=known, circuit_changed=asyncio.Event()
            )
        return minutes_since(since, limit)

    finished = await run(FakeExchange(rows_for), FakeKafka())
    assert (finished.status is RunStatus.SUCCESS) == collected


async def test_a_defect_of_the_collector_fails_the_run_as_internal() -> None:
    def rows_for(*_: Any) -> list[list[float]]:
        raise ZeroDivisionError("oh")

    finished = await run(FakeExchange(rows_for), FakeKafka())
    assert (finished.status, finished.error_class) == (RunStatus.FAILED, ErrorClass.INTERNAL)
    assert "ZeroDivisionError" in (finished.error_message or "")


async def test_candles_that_kafka_does_not_acknowledge_fail_the_run() -> None:
    kafka = FakeKafka(refusals={CANDLES.name: 1})
    finished = await run(FakeExchange(), kafka)
    assert (finished.status, finished.error_class) == (RunStatus.FAILED, ErrorClass.INTERNAL)
    assert "did not acknowledge the candles" in (finished.error_message or "")
    assert (finished.records_collected, finished.covered_until) == (0, None)


async def test_a_run_ends_once_if_kafka_first_refuses_its_start_and_its_end() -> None:
    kafka = FakeKafka(refusals={RUN_EVENTS.name: 2})  # the start, and the first publication of the end
    finished = await run(FakeExchange(), kafka)
    assert finished.status is RunStatus.SUCCESS
    assert kafka.of(RunStarted) == []


@pytest.mark.parametrize("width", [1, 3])
async def test_a_page_larger_than_an_event_is_split(width: int) -> None:
    tick = a_tick()
    from collector.run.collector import candle_events
    from collector.run.timeframe_run import TimeframeRun
    from contracts.candles import MAX_CANDLES_PER_EVENT, Candle

    rows = tuple(Candle(n * MINUTE, 1.0, 2.0, 0.5, 1.5, 9.0) for n in range(MAX_CANDLES_PER_EVENT * width + 1))
    events = list(candle_events(tick, TimeframeRun("BTC/USDT", "1m", batches=[(NOW, rows)])))
    assert [len(event.rows) for event in events] == [MAX_CANDLES_PER_EVENT] * width + [1]
    assert tuple(row for event in events for row in event.rows) == rows
