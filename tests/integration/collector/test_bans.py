"""No request is sent during a ban, also after a restart of the collector or a move of the lane."""

import socket
from datetime import UTC, datetime, timedelta

import pytest

from contracts.exchanges import ExchangeHealthChanged
from contracts.runs import RunFinished
from contracts.topics import EXCHANGE_HEALTH
from contracts.vocabulary import ErrorClass, ExchangeState, RunStatus
from runtime.settings import KafkaSettings
from support.collecting import Simulator, a_tick
from support.collector_runs import Publish, Start, end_of
from support.kafka import Recorder, recording
from support.polling import eventually

pytestmark = pytest.mark.kafka


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
