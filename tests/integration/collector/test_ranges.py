"""Range requests with Kafka and the simulated exchanges: the span is read, and its time is verified or has a reason."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from contracts.candles import CandlesCollected
from contracts.coverage import Absence, AbsenceClass, to_milliseconds
from contracts.ranges import Purpose
from contracts.runs import RunFinished, RunStarted
from contracts.spans import intersect, subtract
from contracts.topics import RANGE_REQUESTS
from contracts.vocabulary import ErrorClass, JobType, RunStatus, Trigger
from support.collecting import EXCHANGES, Simulator, a_range, a_tick, symbol_of
from support.kafka import Recorder

pytestmark = pytest.mark.kafka

NOON = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
"""The frozen time of the simulator is half a minute later."""

Publish = Callable[..., Any]
Start = Callable[..., AbstractAsyncContextManager[Any]]


async def end_of(recorder: Recorder, run_id: UUID) -> RunFinished:
    return await recorder.await_event(RunFinished, lambda event: event.run_id == run_id, within=20)


def absences_of(recorder: Recorder, run_id: UUID) -> list[Absence]:
    return [
        absence for event in recorder.events(CandlesCollected) if event.run_id == run_id for absence in event.absences
    ]


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_a_range_becomes_candles_proofs_and_a_finished_run(
    exchange: str, start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    """Coinbase omits minutes without trades. Kraken offers the newest 720 minutes."""
    hours = (9, 3) if exchange == "kraken" else (60, 40)
    due = a_range(*(NOON - timedelta(hours=each) for each in hours), exchange=exchange, purpose=Purpose.REPAIR)
    async with start_in_process():
        await publish(due, topic=RANGE_REQUESTS)
        finished = await end_of(recorder, due.run_id)
    [started] = recorder.events(RunStarted)
    for event in (started, finished):
        assert (event.job_type, event.trigger, event.config_id) == (JobType.REPAIR, Trigger.RANGE, due.config_id)
        assert (event.run_id, event.scheduled_for) == (due.run_id, due.requested_at)
    [result] = finished.results
    assert (finished.status, result.anchor, absences_of(recorder, due.run_id)) == (RunStatus.SUCCESS, None, [])
    span = due.span.milliseconds()
    events = recorder.events(CandlesCollected)
    verified = [each.milliseconds() for event in events for each in event.verified]
    assert subtract([span], verified) == subtract([span], [each.milliseconds() for each in result.verified]) == ()
    rows = {candle.open_ms: list(candle) for event in events for candle in event.rows}
    truth = await simulator.true_candles(exchange, symbol_of(exchange), "1m", start=span[0], end=span[1])
    assert [rows[at] for at in sorted(rows) if span[0] <= at < span[1]] == truth
    if exchange != "kraken":  # it sends everything up to now
        assert max(rows) < to_milliseconds(NOON - timedelta(hours=24)), "the newest page was read"
    minutes = (span[1] - span[0]) // 60_000
    assert len(truth) == minutes or exchange == "coinbase"
    assert len(truth) > 0.7 * minutes


async def test_a_span_before_the_horizon_is_lost(start_in_process: Start, publish: Publish, recorder: Recorder) -> None:
    due = a_range(NOON - timedelta(hours=20), NOON - timedelta(hours=15), exchange="kraken")
    async with start_in_process():
        await publish(due, topic=RANGE_REQUESTS)
        finished = await end_of(recorder, due.run_id)
    [absence] = absences_of(recorder, due.run_id)
    assert absence.absence_class is AbsenceClass.BEYOND_HORIZON
    assert (absence.start, absence.end) == (due.span.start, due.span.end)
    assert "the exchange keeps the newest 720 candles only" in absence.evidence
    [result] = finished.results
    assert [(each.start, each.end) for each in result.lost] == [(due.span.start, due.span.end)]
    assert intersect([due.span.milliseconds()], [each.milliseconds() for each in result.verified]) == ()


async def test_empty_answers_prove_nothing(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    """The exchange sends `[]` for the whole span. Whether it has no candles there, or lost them, is not known."""
    hidden = [["2020-01-01T00:00:00Z", (NOON - timedelta(hours=10)).isoformat()]]
    await simulator.add_mood("page", exchange="binance", page={"hidden": hidden})
    due = a_range(NOON - timedelta(hours=60), NOON - timedelta(hours=20))
    async with start_in_process():
        await publish(due, topic=RANGE_REQUESTS)
        finished = await end_of(recorder, due.run_id)
    [absence] = absences_of(recorder, due.run_id)
    assert absence.absence_class is AbsenceClass.UNKNOWN
    assert (absence.start, absence.end) == (due.span.start, due.span.end), "also after several misses"
    [result] = finished.results
    assert finished.status is RunStatus.SUCCESS
    assert intersect([due.span.milliseconds()], [each.milliseconds() for each in result.verified]) == ()
    assert [(each.start, each.end) for each in result.requested] == [(due.span.start, due.span.end)]


async def test_runs_of_a_range_and_of_a_tick_of_one_config_run_beside_each_other(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    await simulator.add_mood("latency", path="klines", latency_ms=1500)
    due = [a_range(NOON - timedelta(hours=3), NOON - timedelta(hours=2), chunk) for chunk in (1, 2)]
    tick = a_tick(1, trigger=Trigger.SCHEDULED)
    async with start_in_process():
        await publish(*due, topic=RANGE_REQUESTS)
        await recorder.await_events(RunStarted, 2, within=20)
        await publish(tick)
        ends = [await end_of(recorder, each.run_id) for each in (*due, tick)]
    assert [end.status for end in ends] == [RunStatus.SUCCESS] * 3
    assert ends[2].started_at < min(end.finished_at for end in ends[:2])


async def test_duplicates_of_a_range_request_are_one_run(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    await simulator.add_mood("latency", path="klines", latency_ms=500, count=1)
    due, last = (a_range(NOON - timedelta(hours=3), NOON - timedelta(hours=2), chunk) for chunk in (1, 2))
    async with start_in_process():
        await publish(due, due, topic=RANGE_REQUESTS)
        await end_of(recorder, due.run_id)
        await publish(due, last, topic=RANGE_REQUESTS)
        await end_of(recorder, last.run_id)
    for kind in (RunStarted, RunFinished):
        assert len([event for event in recorder.events(kind) if event.run_id == due.run_id]) == 1


async def test_ranges_of_a_banned_exchange_end_at_once_without_a_request(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    await simulator.add_mood("ban", exchange="binance", retry_after=5)
    first = a_tick(1, deadline_seconds=4)
    due = [a_range(NOON - timedelta(hours=3), NOON - timedelta(hours=2), chunk) for chunk in range(1, 9)]
    async with start_in_process():
        await publish(first)
        assert (await end_of(recorder, first.run_id)).error_class is ErrorClass.BANNED
        await publish(*due, topic=RANGE_REQUESTS)
        for each in due:
            end = await end_of(recorder, each.run_id)
            assert (end.status, end.error_class, end.results[0].pages) == (RunStatus.FAILED, ErrorClass.BANNED, 0)
            assert (end.finished_at - end.started_at).total_seconds() < 2
    assert len(await simulator.all_requests("binance")) == 1
