"""Runs of ranges."""

import asyncio
from datetime import timedelta

from collector.exchange.failures import RequestDeferred
from contracts.candles import CandlesCollected
from contracts.coverage import AbsenceClass
from contracts.ranges import Purpose
from contracts.runs import RunStarted
from contracts.vocabulary import ErrorClass, JobType, RunStatus, Trigger
from support.collecting import a_range
from support.fake_collector_runs import MINUTE, NOW, FakeExchange, FakeKafka, minutes_since, run


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
