"""One run with a fake exchange and a fake Kafka."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from collector.candles.page_requests import Proof, ReadingLimits
from collector.candles.pages import read_page
from collector.candles.reading import SeriesReader
from collector.exchange.client import CandleResponse
from collector.exchange.failures import ExchangeFailure, RequestDeferred
from collector.exchange.status_statements import StatusStatements
from collector.exchange.traits import ExchangeTraits
from collector.exchange.traits_table import traits_of
from collector.metrics import CollectorMetrics
from collector.run.collector import Collector, candle_events
from collector.run.outcomes import Outcomes
from collector.run.retry_policy import RetryPolicy
from collector.run.run import Due, Run
from collector.run.timeframe_run import Answer, TimeframeRun
from contracts.candles import CandlesCollected
from contracts.coverage import AbsenceClass, EvidenceKind, SeriesProgress, Span, to_instant, to_milliseconds
from contracts.event import Event
from contracts.ranges import Purpose
from contracts.runs import RunFinished, RunStarted
from contracts.topics import CANDLES, RUN_EVENTS, Topic
from contracts.vocabulary import ErrorClass, JobType, RunStatus, Trigger
from runtime.kafka.publisher import PublishFailed
from scheduler.progress import Series, after_result
from support.collecting import a_range, a_tick

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


async def run(
    exchange: FakeExchange, kafka: FakeKafka, limits: ReadingLimits | None = None, due: Due | None = None, **tick: Any
) -> RunFinished:
    metrics = CollectorMetrics(CollectorRegistry())
    outcomes = Outcomes(kafka, metrics, "here:1")  # type: ignore[arg-type]
    policy = RetryPolicy(initial_wait=0.001, max_wait=0.002)
    collector = Collector(
        clients=exchange,  # type: ignore[arg-type]
        publisher=kafka,  # type: ignore[arg-type]
        outcomes=outcomes,
        metrics=metrics,
        policy=policy,
        limits=limits or ReadingLimits(),
    )
    await collector.collect(Run(due or a_tick(**tick), NOW))
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
    assert [candle.open_ms for candle in candles.rows] == [OPENING - n * MINUTE for n in range(9, 0, -1)]
    assert (candles.run_id, candles.fetched_at) == (finished.run_id, NOW)
    [result] = finished.results
    assert (result.candles, result.pages) == (9, 1)
    assert (result.first_open, result.last_open) == (NOW.replace(second=0, minute=51, hour=11), candles_end(candles))
    whole = (Span(start=NOW.replace(second=0, minute=51, hour=11), end=NOW.replace(second=0)),)
    assert (result.verified, candles.verified) == (whole, whole)


async def test_a_first_run_that_sees_only_the_open_candle_says_so_and_the_next_one_reads_on_from_it() -> None:
    exchange = FakeExchange(rows_for=lambda _timeframe, _since, _limit: minutes_since(OPENING, 1))
    [result] = (await run(exchange, FakeKafka())).results
    assert (result.candles, result.anchor) == (0, to_instant(OPENING))
    assert result.notes == ("no candle of the newest page has closed yet: the next run reads on from its first candle",)
    series = after_result(Series(), result, finished_at=NOW_MS, now=NOW_MS, interval_ms=MINUTE)
    assert series == Series(OPENING), "all time from the anchor on is read again"


@pytest.mark.parametrize("is_silent", [True, False])
async def test_the_remark_about_a_silent_market_is_in_the_result(is_silent: bool) -> None:
    exchange = FakeExchange(remark_if_silent="binance lists MATIC/USDT as not active")
    if is_silent:
        exchange.rows_for = lambda _timeframe, _since, _limit: []
    finished = await run(exchange, FakeKafka())
    assert finished.status is RunStatus.SUCCESS
    assert finished.results[0].notes == (("binance lists MATIC/USDT as not active",) if is_silent else ())


async def test_rows_that_an_exchange_invents_after_a_delisting_are_no_candles() -> None:
    """The last rows are flat and without volume. The market is not traded for five minutes."""

    def rows(_timeframe: str, since: int, limit: int) -> list[list[float]]:
        found = minutes_since(since, limit)
        return [[row[0], 2, 2, 2, 2, 0] if row[0] >= OPENING - 8 * MINUTE else row for row in found]

    kafka = FakeKafka()
    since = to_instant(OPENING - 5 * MINUTE)
    finished = await run(FakeExchange(rows, inactive_since=since), kafka, collected_until=NOW - timedelta(minutes=30))
    events = kafka.of(CandlesCollected)
    assert max(row.open_ms for event in events for row in event.rows) == OPENING - 6 * MINUTE
    assert max(to_milliseconds(span.end) for event in events for span in event.verified) == OPENING - 5 * MINUTE
    [absence] = [each for event in events for each in event.absences]
    assert (absence.absence_class, absence.level) == (AbsenceClass.DELISTED, 3)
    assert absence.milliseconds() == (OPENING - 5 * MINUTE, OPENING)
    assert absence.proof[0].kind is EvidenceKind.MARKETS
    [result] = finished.results
    assert (finished.status, result.open_hole) == (RunStatus.SUCCESS, None)
    assert result.anchor is not None
    assert to_milliseconds(result.anchor) < OPENING - 5 * MINUTE


async def test_a_step_of_the_wall_clock_during_a_run_does_not_change_its_duration() -> None:
    """The run starts at NOW. When it ends, the wall clock of this process shows a very different time."""
    finished = await run(FakeExchange(), FakeKafka())
    assert timedelta(0) <= finished.finished_at - finished.started_at < timedelta(seconds=20)


def candles_end(candles: CandlesCollected) -> datetime:
    return datetime.fromtimestamp(candles.rows[-1].open_ms / 1000, UTC)


async def test_a_run_reads_from_its_anchor_to_now_and_publishes_each_candle_once() -> None:
    kafka = FakeKafka()
    finished = await run(FakeExchange(), kafka, collected_until=NOW - timedelta(minutes=30))
    opens = [candle.open_ms for event in kafka.of(CandlesCollected) for candle in event.rows]
    assert sorted(opens) == [OPENING - n * MINUTE for n in range(32, 0, -1)]
    [result] = finished.results
    assert finished.records_collected == 32
    assert result.verified == (Span(start=NOW.replace(second=0, minute=28, hour=11), end=NOW.replace(second=0)),)
    assert (result.open_hole, result.notes) == (None, ())
    assert result.requested == (Span(start=NOW.replace(second=0, minute=30, hour=11), end=result.requested[0].end),)


async def test_the_newest_page_is_read_first_and_the_rest_is_an_open_hole() -> None:
    kafka = FakeKafka()
    limits = ReadingLimits(max_pages=3)
    finished = await run(FakeExchange(), kafka, limits=limits, collected_until=NOW - timedelta(hours=5))
    [result] = finished.results
    assert finished.status is RunStatus.SUCCESS
    assert result.verified[-1].end == NOW.replace(second=0)
    assert result.open_hole is not None
    assert result.open_hole.end == result.verified[-1].start
    assert (result.open_hole.absence_class, result.pages) == (AbsenceClass.UNREAD, 3)
    [absence] = [absence for event in kafka.of(CandlesCollected) for absence in event.absences]
    assert absence == result.open_hole
    assert "not verified from 2026-11-22 07:00" in result.notes[-1]


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
    assert [len(result.verified) for result in finished.results] == [1, 0]
    assert len(kafka.of(CandlesCollected)) == 1


async def test_an_unusable_answer_is_requested_again_and_not_stored() -> None:
    requests = []

    def rows_for(_timeframe: str, since: int, limit: int) -> list[list[float]]:
        requests.append(since)
        rows = minutes_since(since, limit)
        return rows if len(requests) > 2 else [[at, 1.0, 0.1, 0.5, 1.5, 9.0] for at, *_ in rows]  # high below low

    kafka = FakeKafka()
    finished = await run(FakeExchange(rows_for), kafka)
    assert (finished.status, len(requests), finished.records_collected) == (RunStatus.SUCCESS, 3, 9)


@pytest.mark.parametrize("settle_ms", [0, 600_000])
async def test_a_row_that_the_exchange_repeats_is_rejected_and_its_slot_is_an_open_hole(settle_ms: int) -> None:
    bad = OPENING - 5 * MINUTE
    anchor = OPENING - 8 * MINUTE

    def rows_for(_timeframe: str, since: int, limit: int) -> list[list[float]]:
        return [[*row[:2], 0.1 if row[0] == bad else row[2], *row[3:]] for row in minutes_since(since, limit)]

    kafka = FakeKafka()
    at = to_instant(anchor + MINUTE)
    finished = await run(FakeExchange(rows_for), kafka, limits=ReadingLimits(settle_ms=settle_ms), collected_until=at)
    [result] = finished.results
    assert finished.status is RunStatus.SUCCESS
    assert [row.open_time for row in result.rejected] == [to_instant(bad)]
    assert result.open_hole is not None
    assert (result.open_hole.start, result.open_hole.absence_class) == (to_instant(bad), AbsenceClass.REJECTED)
    assert [each for event in kafka.of(CandlesCollected) for each in event.absences] == [result.open_hole]
    assert [row.reason for event in kafka.of(CandlesCollected) for row in event.rejected] == [result.rejected[0].reason]
    assert bad not in {candle.open_ms for event in kafka.of(CandlesCollected) for candle in event.rows}


async def test_a_row_that_is_right_when_it_is_read_again_is_a_candle() -> None:
    requests = []

    def rows_for(_timeframe: str, since: int, limit: int) -> list[list[float]]:
        requests.append(since)
        rows = minutes_since(since, limit)
        if len(requests) == 1:
            rows[2][2] = 0.1  # high below low
        return rows

    kafka = FakeKafka()
    finished = await run(FakeExchange(rows_for), kafka)
    assert (finished.results[0].rejected, finished.records_collected, len(requests)) == ((), 9, 2)
    assert len(finished.results[0].verified) == 1


async def test_pages_read_before_a_failure_counts() -> None:
    def rows_for(_timeframe: str, since: int, limit: int) -> list[list[float]]:
        if since < OPENING - 20 * MINUTE:
            raise ExchangeFailure(ErrorClass.BANNED, "banned", retryable=True, retry_after=3600)
        return minutes_since(since, limit)

    kafka = FakeKafka()
    finished = await run(FakeExchange(rows_for), kafka, collected_until=NOW - timedelta(minutes=30))
    assert (finished.status, finished.error_class) == (RunStatus.FAILED, ErrorClass.BANNED)
    assert finished.records_collected == sum(len(event.rows) for event in kafka.of(CandlesCollected)) > 0
    [result] = finished.results
    assert result.verified[-1].end == NOW.replace(second=0)
    assert result.open_hole is not None
    assert result.open_hole.absence_class is AbsenceClass.UNREAD


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
    assert [(result.pages, result.verified, result.anchor) for result in finished.results] == [(0, (), None)] * 2
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
    [result] = finished.results
    assert (finished.records_collected, result.verified, result.anchor) == (0, (), None)


async def test_a_run_ends_once_if_kafka_first_refuses_its_start_and_its_end() -> None:
    kafka = FakeKafka(refusals={RUN_EVENTS.name: 2})  # the start, and the first publication of the end
    finished = await run(FakeExchange(), kafka)
    assert finished.status is RunStatus.SUCCESS
    assert kafka.of(RunStarted) == []


@pytest.mark.parametrize("width", [1, 3])
async def test_a_page_larger_than_an_event_is_split(width: int) -> None:
    tick = a_tick()
    from contracts.candles import MAX_CANDLES_PER_EVENT, Candle

    rows = tuple(Candle(n * MINUTE, 1.0, 2.0, 0.5, 1.5, 9.0) for n in range(MAX_CANDLES_PER_EVENT * width + 1))
    answer = Answer(NOW, rows, Proof(((0, MINUTE),), ()))
    timeframe_run = TimeframeRun("BTC/USDT", "1m", SeriesProgress(timeframe="1m"), answers=[answer])
    events = list(candle_events(tick, timeframe_run))
    assert [len(event.rows) for event in events] == [MAX_CANDLES_PER_EVENT] * width + [1]
    assert [len(event.verified) for event in events] == [0] * width + [1], "after the rows that it vouches for"
    assert tuple(row for event in events for row in event.rows) == rows


KAFKA_LIMIT = 1_000_000


def a_long_run(rows: int) -> TimeframeRun:
    """A run that read one answer of this many rows, of which every second one cannot be a candle."""
    progress = SeriesProgress(timeframe="1m", anchor=to_instant(OPENING - rows * MINUTE))
    timeframe_run = TimeframeRun("BTC/USDT", "1m", progress)
    traits = ExchangeTraits()
    reader = timeframe_run.reader = SeriesReader(traits, progress, rows, NOW_MS)
    opens = range(OPENING - rows * MINUTE, OPENING, MINUTE)
    sent = [[at, 1.0, 0.1 if number % 2 else 2.0, 0.5, 1.5, 9.0, "x" * 600] for number, at in enumerate(opens)]
    for _ in range(2):  # a bad row counts when it is repeated
        request = reader.next_request(NOW_MS)
        assert request is not None
        page = read_page(traits, reader.calendar, sent, since=request.since, now=NOW_MS)
        timeframe_run.add(CandleResponse(sent, NOW_MS, NOW), page, reader.receive(page, NOW_MS))
    return timeframe_run


@pytest.mark.parametrize("rows", [1000, 6001])
def test_messages_fit_into_kafka_however_many_rows_are_rejected(rows: int) -> None:
    timeframe_run = a_long_run(rows)
    events = list(candle_events(a_tick(), timeframe_run))
    assert max(len(event.model_dump_json()) for event in events) < KAFKA_LIMIT
    assert sum(len(event.rejected) for event in events) == rows // 2 == timeframe_run.result().rejected_count
    assert len(timeframe_run.result().model_dump_json()) < KAFKA_LIMIT / 16, "a config may have 16 timeframes"


def test_no_event_vouches_for_candles_that_come_later() -> None:
    timeframe_run = a_long_run(6001)
    sent: set[int] = set()
    for event in candle_events(a_tick(), timeframe_run):
        sent |= {candle.open_ms for candle in event.rows}
        for start, end in (span.milliseconds() for span in event.verified):
            assert not {at for at in timeframe_run._collected if start <= at < end} - sent


# ---- runs of ranges ----


async def test_a_run_of_a_range_reads_its_span_only_and_reports_no_anchor() -> None:
    asked: list[int] = []

    def rows_for(_timeframe: str, since: int, limit: int) -> list[list[float]]:
        asked.append(since)
        return minutes_since(since, limit)

    kafka, start = FakeKafka(), NOW.replace(second=0) - timedelta(hours=5)
    due = a_range(start, start + timedelta(minutes=25), purpose=Purpose.REPAIR, config_id=42)
    finished = await run(FakeExchange(rows_for), kafka, due=due)
    [started] = kafka.of(RunStarted)
    for event in (started, finished):
        assert (event.run_id, event.config_id, event.timeframes) == (due.run_id, 42, ("1m",))
        assert (event.job_type, event.trigger, event.scheduled_for) == (JobType.REPAIR, Trigger.RANGE, due.requested_at)
    [result] = finished.results
    assert (finished.status, result.anchor, result.open_hole, result.lost) == (RunStatus.SUCCESS, None, None, ())
    assert [(span.start, span.end) for span in result.requested] == [(due.span.start, due.span.end)]
    [verified] = result.verified
    assert verified.start <= due.span.start
    assert verified.end >= due.span.end
    events = kafka.of(CandlesCollected)
    assert {(event.run_id, event.exchange, event.symbol) for event in events} == {(due.run_id, "binance", "BTC/USDT")}
    start_ms, end_ms = due.span.milliseconds()
    assert all(start_ms - 2 * MINUTE <= since < end_ms for since in asked)
    assert asked[0] > asked[-1], "the newest part first"


async def test_a_run_of_a_range_does_not_wait_for_an_open_circuit() -> None:
    """A run of a tick would wait for the probe."""

    def refuse(*_: object) -> list[list[float]]:
        raise RequestDeferred(
            ErrorClass.BANNED, "banned until noon", wait=0.001, until_is_known=True, circuit_changed=asyncio.Event()
        )

    kafka, start = FakeKafka(), NOW - timedelta(hours=5)
    finished = await run(FakeExchange(refuse), kafka, due=a_range(start, start + timedelta(hours=1)))
    assert (finished.status, finished.error_class) == (RunStatus.FAILED, ErrorClass.BANNED)
    [event] = kafka.of(CandlesCollected)
    assert [absence.absence_class for absence in event.absences] == [AbsenceClass.UNREAD]


async def test_a_silent_span_does_not_make_a_run_read_the_markets_again() -> None:
    exchange = FakeExchange(lambda *_: [], remark_if_silent="the market is not active")
    start = NOW - timedelta(hours=5)
    finished = await run(exchange, FakeKafka(), due=a_range(start, start + timedelta(minutes=10)))
    [result] = finished.results
    assert result.open_hole is not None
    assert result.open_hole.absence_class is AbsenceClass.UNKNOWN
    assert not any("not active" in note for note in result.notes)
