import asyncio
import contextlib
import logging

import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState, TopicPartitionState
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager
from prometheus_client import CollectorRegistry, generate_latest

from contracts.topics import ALL_TOPICS, CONFIG_CHANGES, DEAD_LETTERS, TICKS
from runtime.database import async_url
from runtime.kafka.clients import bootstrap_list, build_broker, group_name, topic_name
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.kafka.topics import topic_configs
from runtime.lifecycle.background import Background
from runtime.logs import NotTooOften
from runtime.metrics import ConsumerMetrics, PublisherMetrics
from runtime.process.startup import is_outage
from runtime.process.supervisor import Supervisor
from runtime.settings import KafkaSettings


async def test_what_we_lean_on_inside_aiokafka_is_still_there() -> None:
    """See runtime/aiokafka_internals.py; the integration tests show that it still means the same."""
    assert callable(GroupCoordinator.fetch_committed_offsets)
    assert asyncio.iscoroutinefunction(GroupCoordinator._do_heartbeat)
    source = GroupCoordinator._heartbeat_routine.__code__.co_names
    assert "_do_heartbeat" in source, "the heartbeat routine no longer goes through the method that we listen to"
    assert {"_coordination_task", "generation"} <= set(GroupCoordinator.__init__.__code__.co_names)
    assert isinstance(SubscriptionState.fetcher_idle_time, property)
    assert isinstance(TopicPartitionState.has_valid_position, property)
    assert {"_pid_and_epoch", "_pid_waiter", "_sequence_numbers"} <= vars(TransactionManager(None, 1000)).keys()
    assert isinstance(Sender.sender_task, property)


@pytest.mark.parametrize(
    ("given_url", "expected"),
    [
        ("postgres://u:p@h:5433/d", "postgresql+asyncpg://u:p@h:5433/d"),
        ("postgresql://u@/d?host=/tmp/socket", "postgresql+asyncpg://u@/d?host=%2Ftmp%2Fsocket"),
        ("postgresql+asyncpg://h/d?sslmode=require", "postgresql+asyncpg://h/d?ssl=require"),
        ("postgresql://u:postgres://@h/d", "postgresql+asyncpg://u:postgres%3A%2F%2F@h/d"),
    ],
)
def test_every_usual_postgres_url_becomes_asyncpgs(given_url: str, expected: str) -> None:
    assert async_url(given_url).render_as_string(hide_password=False) == expected


def test_a_prefix_separates_systems_on_one_cluster() -> None:
    settings = KafkaSettings(kafka_bootstrap_servers="a:1, b:2", kafka_topic_prefix="staging.")
    assert topic_name(settings, TICKS) == "staging.ticks"
    assert group_name(settings, "collector") == "staging.collector"
    assert bootstrap_list(settings) == ["a:1", "b:2"]


def test_every_topic_has_a_configuration_that_keeps_its_promise() -> None:
    for topic in ALL_TOPICS:
        configs = topic_configs(topic, replicas=3)
        assert configs["min.insync.replicas"] == "2"
        assert (configs["retention.ms"] == "-1") == (configs["cleanup.policy"] == "compact")
    assert topic_configs(TICKS, replicas=1)["retention.ms"] == "86400000"
    assert topic_configs(CONFIG_CHANGES, replicas=1)["min.insync.replicas"] == "1"
    assert int(topic_configs(DEAD_LETTERS, 1)["max.message.bytes"]) > 1.34 * 1_048_576


def test_every_shared_metric_is_ours_by_name_and_has_a_sentence() -> None:
    registry = CollectorRegistry()
    ConsumerMetrics(registry)
    PublisherMetrics(registry)
    for metric in registry.collect():
        assert metric.name.startswith("candlekeep_")
        assert metric.documentation.endswith(".")


def test_the_lag_of_a_partition_that_went_elsewhere_is_no_longer_reported() -> None:
    registry = CollectorRegistry()
    metrics = ConsumerMetrics(registry)
    metrics.report_lag("a", {("ticks", 0): 5, ("ticks", 1): 7})
    metrics.report_lag("b", {("ticks", 2): 9})
    metrics.report_lag("a", {("ticks", 1): 3})
    text = generate_latest(registry).decode()
    assert 'partition="0"' not in text
    assert 'candlekeep_consumer_lag{consumer="a",partition="1",topic="ticks"} 3.0' in text
    assert 'candlekeep_consumer_lag{consumer="b",partition="2",topic="ticks"} 9.0' in text


def a_line(name: str, text: str = "Unable to connect to %s") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, __file__, 1, text, ("a",), None)


def test_a_chatty_library_says_the_same_only_now_and_then_but_we_are_never_cut_off() -> None:
    times = iter([0.1, 10, 29, 30.2, 31])
    rarely = NotTooOften(("aiokafka",), every=30, monotonic=lambda: next(times))
    assert [rarely.filter(a_line("aiokafka.conn")) for _ in range(4)] == [True, False, False, True]
    assert rarely.filter(a_line("aiokafka.conn", "something else"))
    assert all(rarely.filter(a_line("collector")) for _ in range(3))


def test_a_wall_clock_that_is_set_back_does_not_silence_a_library() -> None:
    times = iter([0.0, 31.0])
    rarely = NotTooOften(("aiokafka",), every=30, monotonic=lambda: next(times))
    before, after = a_line("aiokafka.conn"), a_line("aiokafka.conn")
    after.created = before.created - 3600
    assert [rarely.filter(before), rarely.filter(after)] == [True, True]


def test_waiting_is_for_outages_and_not_for_mistakes() -> None:
    sqlalchemy_like = type("OperationalError", (Exception,), {"__module__": "sqlalchemy.exc"})
    assert is_outage(ConnectionRefusedError())
    assert is_outage(TimeoutError())
    assert is_outage(sqlalchemy_like())
    assert not is_outage(TypeError())
    assert not is_outage(LookupError())


class Task:
    """A background that stops when told to, fails, or will not stop."""

    def __init__(self, name: str, stopped: list[str], *, stubborn: bool = False, fails: bool = False) -> None:
        self.name, self.stopped, self.stubborn, self.fails = name, stopped, stubborn, fails
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        if self.fails:
            raise RuntimeError("broken")
        await (asyncio.Event() if self.stubborn else self.stopping).wait()
        self.stopped.append(self.name)

    async def stop(self) -> None:
        self.stopping.set()

    def background(self) -> Background:
        return Background(self.name, self.run, self.stop)


async def test_backgrounds_are_stopped_in_reverse_order() -> None:
    stopped: list[str] = []
    supervisor = Supervisor([Task(name, stopped).background() for name in ("outbox", "consumer")])
    told = asyncio.get_running_loop().create_future()
    told.set_result(True)
    assert await supervisor.run_until(told)
    assert await supervisor.stop(5)
    assert stopped == ["consumer", "outbox"]


async def test_a_background_that_ends_by_itself_takes_the_others_down() -> None:
    stopped: list[str] = []
    tasks = [Task("healthy", stopped), Task("broken", stopped, fails=True)]
    supervisor = Supervisor([task.background() for task in tasks])
    assert not await supervisor.run_until(asyncio.get_running_loop().create_future())
    await supervisor.stop(5)
    assert stopped == ["healthy"]


async def test_a_background_that_will_not_stop_is_cancelled_after_the_grace_and_the_others_still_stop() -> None:
    stopped: list[str] = []
    tasks = [Task("healthy", stopped), Task("stubborn", stopped, stubborn=True)]
    supervisor = Supervisor([task.background() for task in tasks])
    told = asyncio.get_running_loop().create_future()
    told.set_result(True)
    await supervisor.run_until(told)
    async with asyncio.timeout(5):
        assert await supervisor.stop(0.1)
    assert "stubborn" not in stopped


async def test_backgrounds_that_will_not_even_be_cancelled_hold_up_a_stop_once_and_not_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.process.supervisor._CANCEL_SECONDS", 0.2)

    async def deaf() -> None:
        for _ in range(2):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.5)

    async def do_nothing() -> None:
        return

    supervisor = Supervisor([Background(f"deaf {number}", deaf, do_nothing) for number in range(5)])
    told = asyncio.get_running_loop().create_future()
    told.set_result(True)
    await supervisor.run_until(told)
    began = asyncio.get_running_loop().time()
    await supervisor.stop(0.1)
    assert asyncio.get_running_loop().time() - began < 0.8


async def test_publishing_nothing_leaves_readiness_as_it_was() -> None:
    settings = KafkaSettings(kafka_bootstrap_servers="nowhere:1")
    publisher = EventPublisher(build_broker(settings, "test"), settings, "test")
    await publisher.publish_many(TICKS, [])
    assert publisher.readiness() is None
    with pytest.raises(PublishFailed):
        await publisher.tombstone(CONFIG_CHANGES, "1")
    await publisher.publish_many(TICKS, [])
    await publisher.tombstones(CONFIG_CHANGES, [])
    assert "config-changes" in (publisher.readiness() or "")
