"""The whole collector with Kafka: it consumes ticks, and publishes candles and the events of runs."""

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.candles import CandlesCollected
from contracts.coverage import to_instant
from contracts.exchanges import ExchangeHealthChanged
from contracts.runs import RunFinished, RunStarted
from contracts.ticks import TickDue
from contracts.topics import EXCHANGE_HEALTH
from contracts.vocabulary import ErrorClass, ExchangeState, RunStatus, Trigger
from runtime.settings import KafkaSettings
from support.collecting import EXCHANGES, Simulator, a_tick
from support.kafka import Recorder, recording
from support.polling import eventually

pytestmark = pytest.mark.kafka

NOON = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
"""The frozen time of the simulator is half a minute later."""

Publish = Callable[..., Any]
Start = Callable[..., AbstractAsyncContextManager[Any]]


def of_run(tick: TickDue) -> Callable[[Any], bool]:
    return lambda event: event.run_id == tick.run_id


async def end_of(recorder: Recorder, tick: TickDue, within: float = 20) -> RunFinished:
    return await recorder.await_event(RunFinished, of_run(tick), within=within)


async def test_a_tick_becomes_candles_and_a_finished_run(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    tick = a_tick(7, exchange="coinbase", timeframes=("1m", "1h"), collected_until=NOON - timedelta(hours=6))
    async with start_in_process():
        await publish(tick)
        finished = await end_of(recorder, tick)
    [started] = [event for event in recorder.events(RunStarted) if event.run_id == tick.run_id]
    assert started.started_at <= finished.finished_at
    assert (finished.status, finished.error_class, finished.config_id) == (RunStatus.SUCCESS, None, 7)
    for result, length in zip(finished.results, (timedelta(minutes=1), timedelta(hours=1)), strict=True):
        events = [event for event in recorder.events(CandlesCollected) if event.timeframe == result.timeframe]
        assert {event.key() for event in events} == {f"coinbase|BTC/USD|{result.timeframe}"}
        first = int(min(event.rows[0].open_ms for event in events if event.rows))
        assert first <= int((NOON - timedelta(hours=6) - length).timestamp() * 1000)
        assert [(span.start, span.end) for span in result.verified] == [(to_instant(first), NOON)]
        assert sorted(list(row) for event in events for row in event.rows) == await simulator.true_candles(
            "coinbase", "BTC/USD", result.timeframe, start=first
        )
        assert result.candles == sum(len(event.rows) for event in events)
    assert finished.records_collected == sum(result.candles for result in finished.results)


async def test_runs_of_every_exchange_succeed_and_permanent_errors_fail_at_once(
    start_in_process: Start, publish: Publish, recorder: Recorder
) -> None:
    ticks = [a_tick(number, exchange=exchange) for number, exchange in enumerate(EXCHANGES, 1)]
    unknown = a_tick(8, symbol="NOPE/USDT")
    half_supported = a_tick(9, exchange="coinbase", timeframes=("1m", "4h"))
    async with start_in_process() as worker:
        await publish(*ticks, unknown, half_supported)
        for tick in ticks:
            assert (await end_of(recorder, tick)).status is RunStatus.SUCCESS
        failed = await end_of(recorder, unknown)
        partly = await end_of(recorder, half_supported)
        counted = worker.registry.get_sample_value(
            "candlekeep_runs_total", {"exchange": "binance", "status": "failed", "trigger": "manual"}
        )
    assert (failed.status, failed.error_class) == (RunStatus.FAILED, ErrorClass.BAD_SYMBOL)
    assert "no market NOPE/USDT" in (failed.error_message or "")
    assert (failed.finished_at - failed.started_at).total_seconds() < 5
    assert counted == 1
    assert (partly.status, partly.error_class) == (RunStatus.FAILED, ErrorClass.NOT_SUPPORTED)
    assert [result.candles > 0 for result in partly.results] == [True, False]


async def test_a_tick_whose_config_is_still_running_is_skipped(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    slow, second = a_tick(1), a_tick(1, trigger=Trigger.SCHEDULED)
    await simulator.add_mood("latency", path="klines", latency_ms=1500)
    async with start_in_process():
        await publish(slow)
        await recorder.await_event(RunStarted, of_run(slow), within=20)
        await publish(second)
        skipped = await end_of(recorder, second)
        assert recorder.events(RunFinished) == [skipped]
        finished = await end_of(recorder, slow)
    assert (skipped.status, skipped.error_class) == (RunStatus.SKIPPED, ErrorClass.ALREADY_RUNNING)
    assert str(slow.run_id) in (skipped.error_message or "")
    assert skipped.results == ()
    assert finished.status is RunStatus.SUCCESS


async def test_a_manual_run_waits_until_the_current_run_has_ended(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    slow, manual = a_tick(1, trigger=Trigger.SCHEDULED), a_tick(1)
    later = [a_tick(1, trigger=Trigger.SCHEDULED), a_tick(1)]
    await simulator.add_mood("latency", path="klines", latency_ms=1500)
    async with start_in_process():
        await publish(slow)
        await recorder.await_event(RunStarted, of_run(slow), within=20)
        await publish(manual, manual, *later)
        first, second, third = [await end_of(recorder, tick) for tick in (slow, manual, later[1])]
        skipped = await end_of(recorder, later[0])
    assert {run.status for run in (first, second, third)} == {RunStatus.SUCCESS}
    assert skipped.status is RunStatus.SKIPPED
    assert first.finished_at <= second.started_at <= second.finished_at <= third.started_at
    assert len(recorder.events(RunFinished)) == 4


async def test_a_waiting_manual_run_is_executed_by_the_next_owner_if_its_collector_dies(
    start_process: Start, start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    slow, manual = a_tick(1, trigger=Trigger.SCHEDULED, deadline_seconds=60), a_tick(1, deadline_seconds=60)
    await simulator.add_mood("latency", path="klines", latency_ms=15_000)
    async with start_process() as process:
        await publish(slow)
        await recorder.await_event(RunStarted, of_run(slow), within=40)
        await publish(manual)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await simulator.clear_moods()
    async with start_in_process():
        assert (await end_of(recorder, manual, within=40)).status is RunStatus.SUCCESS
        await end_of(recorder, slow, within=40)
    assert sorted(str(event.run_id) for event in recorder.events(RunFinished)) == sorted(
        str(tick.run_id) for tick in (slow, manual)
    )


async def test_a_ban_survives_the_restart_of_its_collector(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator, kafka_settings: KafkaSettings
) -> None:
    await simulator.add_mood("ban", exchange="binance", count=1, retry_after=25)
    first, during, after = (a_tick(number, deadline_seconds=limit) for number, limit in ((1, 3), (2, 2), (3, 90)))
    async with start_in_process(), recording(kafka_settings, EXCHANGE_HEALTH) as health:
        await publish(first)
        banned = await health.await_event(ExchangeHealthChanged, lambda event: event.until is not None, within=20)
        await end_of(recorder, first)
    assert banned.until is not None
    async with start_in_process():
        await publish(during, after)
        failed = await end_of(recorder, during)
        assert failed.error_class is ErrorClass.BANNED
        assert datetime.now(UTC) < banned.until, "the machine is too slow for this test: the ban has already ended"
        assert len(await simulator.all_requests("binance")) == 1
        assert (await end_of(recorder, after, within=60)).status is RunStatus.SUCCESS
        assert datetime.now(UTC) >= banned.until


def a_ban(lane: str, collector: str, seconds: float = 300) -> ExchangeHealthChanged:
    now = datetime.now(UTC)
    return ExchangeHealthChanged(
        occurred_at=now,
        exchange="binance",
        lane=lane,
        state=ExchangeState.BANNED,
        until=now + timedelta(seconds=seconds),
        error_class=ErrorClass.BANNED,
        reason="binance has banned this IP address",
        collector=collector,
    )


def an_ok(lane: str, collector: str) -> ExchangeHealthChanged:
    closed = {"state": ExchangeState.OK, "until": None, "error_class": None, "reason": None}
    return a_ban(lane, collector).model_copy(update=closed)


async def test_a_collector_that_starts_sends_no_request_during_the_ban_of_its_only_lane(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    tick = a_tick(1)
    await publish(a_ban("binance", "elsewhere:1"), topic=EXCHANGE_HEALTH)
    async with start_in_process():
        await publish(tick)
        assert (await end_of(recorder, tick)).error_class is ErrorClass.BANNED
    assert await simulator.all_requests("binance") == []


async def test_a_collector_that_is_given_a_lane_sends_no_request_during_the_ban_of_its_last_owner(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    """The collector has owned the lane before, so it has a client with a closed circuit."""
    first = a_tick(1)
    async with start_in_process() as worker:
        await publish(first)
        assert (await end_of(recorder, first)).status is RunStatus.SUCCESS
        await publish(a_ban("binance", "elsewhere:1"), topic=EXCHANGE_HEALTH)
        banned = await eventually(lambda: _first_banned_run(publish, recorder), within=20)
        before = len(await simulator.all_requests("binance"))
        later = [a_tick(number) for number in range(10, 15)]
        await publish(*later)
        assert {(await end_of(recorder, tick)).error_class for tick in later} == {ErrorClass.BANNED}
        state = worker.registry.get_sample_value(
            "candlekeep_exchange_state", {"exchange": "binance", "state": "banned"}
        )
    assert banned.error_message is not None
    assert (len(await simulator.all_requests("binance")), state) == (before, 1)


async def _first_banned_run(publish: Publish, recorder: Recorder) -> RunFinished | None:
    tick = a_tick(2)
    await publish(tick)
    finished = await end_of(recorder, tick)
    return finished if finished.error_class is ErrorClass.BANNED else None


@pytest.mark.parametrize(
    ("lane", "collector", "is_banned"),
    [
        ("binance#0", "elsewhere:1", True),  # the state of the lane that this collector is given
        ("binance#1", f"{socket.gethostname()}:1", True),  # this host, before a restart
        ("binance#1", "elsewhere:1", False),  # another address
        ("binance", f"{socket.gethostname()}:1", True),  # before EXCHANGE_LANES was raised
    ],
)
async def test_with_several_lanes_a_ban_of_this_lane_or_this_host_survives_and_others_do_not_matter(
    lane: str,
    collector: str,
    is_banned: bool,
    start_in_process: Start,
    publish: Publish,
    recorder: Recorder,
    simulator: Simulator,
) -> None:
    tick = a_tick(1, lane="binance#0")
    await publish(a_ban(lane, collector), an_ok("binance#2", "third:1"), topic=EXCHANGE_HEALTH)
    async with start_in_process():
        await publish(tick)
        finished = await end_of(recorder, tick)
    assert (finished.error_class is ErrorClass.BANNED) is is_banned
    assert (await simulator.all_requests("binance") == []) is is_banned


async def test_the_first_response_in_another_lane_does_not_hide_a_ban(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator, kafka_settings: KafkaSettings
) -> None:
    await simulator.add_mood("ban", exchange="binance", count=1, retry_after=300)
    first, second = a_tick(1, lane="binance#0"), a_tick(2, lane="binance#0")
    async with start_in_process(), recording(kafka_settings, EXCHANGE_HEALTH) as health:
        await publish(first)
        await end_of(recorder, first)
        banned = await health.await_event(ExchangeHealthChanged, lambda event: event.until is not None, within=20)
    assert banned.key() == "binance#0"
    await publish(an_ok("binance#1", "elsewhere:1"), topic=EXCHANGE_HEALTH)
    async with start_in_process():
        await publish(second)
        assert (await end_of(recorder, second)).error_class is ErrorClass.BANNED
    assert len(await simulator.all_requests("binance")) == 1


async def test_duplicates_of_a_tick_are_one_run(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    tick, last = a_tick(1), a_tick(2)
    await simulator.add_mood("latency", path="klines", latency_ms=500, count=1)
    async with start_in_process():
        await publish(tick, tick)
        await end_of(recorder, tick)
        await publish(tick, last)
        await end_of(recorder, last)
    assert len([event for event in recorder.events(RunStarted) if event.run_id == tick.run_id]) == 1
    assert len([event for event in recorder.events(RunFinished) if event.run_id == tick.run_id]) == 1


async def test_a_run_ends_at_its_deadline_and_publishes_its_candles(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    await simulator.add_mood("latency", path="candles", latency_ms=15_000, every=2)  # delays the second page
    tick = a_tick(1, exchange="coinbase", collected_until=NOON - timedelta(hours=10), deadline_seconds=2)
    async with start_in_process():
        await publish(tick)
        finished = await end_of(recorder, tick)
    assert (finished.status, finished.error_class) == (RunStatus.FAILED, ErrorClass.DEADLINE_EXCEEDED)
    assert 1.9 < (finished.finished_at - finished.started_at).total_seconds() < 4
    assert finished.error_message is not None
    assert finished.error_message.startswith("the run exceeded its deadline of 2 s")
    assert finished.records_collected == sum(len(event.rows) for event in recorder.events(CandlesCollected))
    assert (finished.results[0].pages, finished.records_collected > 200) == (1, True)


async def test_a_slow_exchange_does_not_delay_the_others(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    await simulator.add_mood("latency", exchange="kraken", latency_ms=6000)
    slow = [a_tick(number, exchange="kraken", trigger=Trigger.SCHEDULED) for number in range(1, 9)]
    quick = a_tick(20, exchange="okx")
    async with start_in_process(MAX_SHARED_RUNS="6", MAX_RUNS_PER_LANE="3"):
        await publish(*slow)
        await recorder.await_events(RunStarted, 3, within=20)
        await publish(quick)
        assert (await end_of(recorder, quick, within=5)).status is RunStatus.SUCCESS
        assert all(event.exchange == "okx" for event in recorder.events(RunFinished))


async def test_a_run_starts_within_a_second_even_if_slow_exchanges_fill_the_shared_places(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    for exchange in ("kraken", "bybit"):
        await simulator.add_mood("latency", exchange=exchange, latency_ms=20_000)
    slow = [
        a_tick(number, exchange=("kraken", "bybit")[number % 2], trigger=Trigger.SCHEDULED, deadline_seconds=60)
        for number in range(1, 201)
    ]
    quick = a_tick(1000, exchange="okx")
    async with start_in_process(
        MAX_SHARED_RUNS="6", MAX_RUNS_PER_LANE="5", RESERVED_RUNS_PER_LANE="1", SHUTDOWN_GRACE_SECONDS="6"
    ) as worker:
        await publish(*slow)
        shared, reserved = 6, 2
        await recorder.await_events(RunStarted, shared + reserved, within=20)
        published_at = datetime.now(UTC)
        await publish(quick)
        started = await recorder.await_event(RunStarted, of_run(quick), within=5)
        assert (started.started_at - published_at).total_seconds() < 1
        assert (await end_of(recorder, quick, within=5)).status is RunStatus.SUCCESS
        assert len(recorder.events(RunStarted)) == 9
        assert worker.registry.get_sample_value("candlekeep_consumer_in_flight", {"consumer": "collector"}) == 8


async def test_a_manual_run_starts_before_a_hundred_scheduled_ones_that_wait_in_its_lane(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    await simulator.add_mood("latency", exchange="kraken", path="OHLC", latency_ms=1000)
    scheduled = [a_tick(number, exchange="kraken", trigger=Trigger.SCHEDULED) for number in range(1, 101)]
    manual = a_tick(200, exchange="kraken")
    async with start_in_process(MAX_RUNS_PER_LANE="1"):
        await publish(*scheduled)
        await recorder.await_event(RunStarted, within=20)
        await publish(manual)
        assert (await end_of(recorder, manual)).status is RunStatus.SUCCESS
        before = [event for event in recorder.events(RunFinished) if event.run_id != manual.run_id]
    assert len(before) <= 4


async def test_runs_of_a_banned_exchange_end_as_banned_without_a_request_and_cover_nothing(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    await simulator.add_mood("ban", exchange="binance", retry_after=300)
    first, other, *rest = a_tick(1), a_tick(2, exchange="okx"), *(a_tick(number) for number in range(3, 33))
    async with start_in_process() as worker:
        await publish(first)
        assert (await end_of(recorder, first)).error_class is ErrorClass.BANNED
        await publish(*rest, other)
        assert (await end_of(recorder, other)).status is RunStatus.SUCCESS
        ended = [await end_of(recorder, tick) for tick in rest]
        read = worker.registry.get_sample_value
        deferred = read("candlekeep_runs_deferred_total", {"exchange": "binance", "error_class": "banned"})
        changes = read("candlekeep_exchange_state_changes_total", {"exchange": "binance", "state": "banned"})
    for run in ended:
        assert (run.status, run.error_class) == (RunStatus.FAILED, ErrorClass.BANNED)
        assert [result.verified for result in run.results] == [()]
        assert "the next run collects what this one did not" in (run.error_message or "")
        assert (run.finished_at - run.started_at).total_seconds() < 5
    assert (deferred, changes) == (len(rest), 1)
    assert len(await simulator.all_requests("binance")) == 1


async def test_sigterm_finishes_the_runs_in_flight_and_no_run_is_repeated(
    start_process: Start, start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    tick, after = a_tick(1), a_tick(2)
    await simulator.add_mood("latency", path="klines", latency_ms=1500)
    async with start_process() as process:
        await publish(tick)
        await recorder.await_event(RunStarted, of_run(tick), within=40)
        process.send_signal(signal.SIGTERM)
        assert (await end_of(recorder, tick)).status is RunStatus.SUCCESS
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    await simulator.clear_moods()
    async with start_in_process():
        await publish(after)
        await end_of(recorder, after, within=30)
    assert len([event for event in recorder.events(RunStarted) if event.run_id == tick.run_id]) == 1


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped with too little grace"])
async def test_an_interrupted_run_is_repeated_by_the_next_owner(
    kill: bool,
    start_process: Start,
    start_in_process: Start,
    publish: Publish,
    recorder: Recorder,
    simulator: Simulator,
) -> None:
    tick = a_tick(1, deadline_seconds=60)
    await simulator.add_mood("latency", path="klines", latency_ms=15_000)
    async with start_process(SHUTDOWN_GRACE_SECONDS="6") as process:  # five seconds are reserved for the last commit
        await publish(tick)
        first = await recorder.await_event(RunStarted, of_run(tick), within=40)
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        async with asyncio.timeout(15):
            assert await process.wait() == (-signal.SIGKILL if kill else 0)
    assert recorder.events(RunFinished) == []
    await simulator.clear_moods()
    async with start_in_process():
        assert (await end_of(recorder, tick, within=40)).status is RunStatus.SUCCESS
    again = recorder.events(RunStarted)[-1]
    assert (again.run_id, again.collector != first.collector) == (first.run_id, True)
    assert len(recorder.events(RunFinished)) == 1
