"""A run of the collector with a fake exchange and a fake Kafka."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry

from collector.candles.page_requests import ReadingLimits
from collector.exchange.client_options import CandleResponse
from collector.exchange.status_statements import StatusStatements
from collector.exchange.traits import ExchangeTraits
from collector.exchange.traits_table import traits_of
from collector.metrics import CollectorMetrics
from collector.run.collector import Collector
from collector.run.outcomes import Outcomes
from collector.run.retry_policy import RetryPolicy
from collector.run.run import Due, Run
from contracts.event import Event
from contracts.runs import RunFinished
from contracts.topics import Topic
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
    inactive_since: datetime | None = None
    statements: StatusStatements = field(default_factory=StatusStatements)

    @property
    def traits(self) -> ExchangeTraits:
        return traits_of(self.exchange)

    def get(self, _exchange: str) -> "FakeExchange":
        return self

    def now_ms(self) -> int:
        return NOW_MS

    def page_limit(self, _symbol: str, _timeframe: str) -> int:
        return 10

    def honours_until(self, _symbol: str) -> bool:
        return False

    async def require(self, _symbol: str, _timeframe: str) -> None:
        return

    def not_traded_since(self, _symbol: str) -> datetime | None:
        return self.inactive_since

    async def remark(self, _symbol: str, refresh_until: float | None) -> str | None:
        return self.remark_if_silent if refresh_until is not None else None

    async def fetch_status(self) -> None:
        return

    async def fetch(self, _symbol: str, timeframe: str, since: int, limit: int, _until: int | None) -> CandleResponse:
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


def collector_of(exchange: FakeExchange, kafka: FakeKafka, limits: ReadingLimits | None = None) -> Collector:
    metrics = CollectorMetrics(CollectorRegistry())
    outcomes = Outcomes(kafka, metrics, "here:1")  # type: ignore[arg-type]
    policy = RetryPolicy(initial_wait=0.001, max_wait=0.002)
    return Collector(
        clients=exchange,  # type: ignore[arg-type]
        publisher=kafka,  # type: ignore[arg-type]
        outcomes=outcomes,
        metrics=metrics,
        policy=policy,
        limits=limits or ReadingLimits(),
    )


async def run(
    exchange: FakeExchange, kafka: FakeKafka, limits: ReadingLimits | None = None, due: Due | None = None, **tick: Any
) -> RunFinished:
    await collector_of(exchange, kafka, limits).collect(Run(due or a_tick(**tick), NOW))
    finished: RunFinished
    [finished] = kafka.of(RunFinished)
    assert kafka.events[-1] is finished
    return finished
