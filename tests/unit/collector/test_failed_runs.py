"""Runs that fail, that wait for their exchange, or whose messages Kafka refuses."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from collector.exchange.failures import ExchangeFailure, RequestDeferred
from contracts.candles import CandlesCollected
from contracts.coverage import AbsenceClass
from contracts.runs import RunStarted
from contracts.topics import CANDLES, RUN_EVENTS
from contracts.vocabulary import ErrorClass, RunStatus
from support.fake_collector_runs import MINUTE, NOW, OPENING, FakeExchange, FakeKafka, minutes_since, run


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
