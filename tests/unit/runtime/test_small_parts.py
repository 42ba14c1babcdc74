import asyncio
import contextlib
import logging

import pytest
from aiokafka.conn import create_conn
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


async def test_the_private_members_of_aiokafka_that_we_use_exist() -> None:
    """See runtime/kafka/aiokafka_internals.py. Integration tests check that their meaning is the same."""
    assert callable(GroupCoordinator.fetch_committed_offsets)
    assert asyncio.iscoroutinefunction(GroupCoordinator._do_heartbeat)
    source = GroupCoordinator._heartbeat_routine.__code__.co_names
    assert "_do_heartbeat" in source, "the heartbeat routine no longer calls the method that we wrap"
    assert {"_coordination_task", "generation"} <= set(GroupCoordinator.__init__.__code__.co_names)
    assert isinstance(SubscriptionState.fetcher_idle_time, property)
    assert isinstance(TopicPartitionState.has_valid_position, property)
    assert {"_pid_and_epoch", "_pid_waiter", "_sequence_numbers"} <= vars(TransactionManager(None, 1000)).keys()
    assert isinstance(Sender.sender_task, property)
    assert {"security_protocol", "ssl_context", "sasl_mechanism", "sasl_oauth_token_provider"} <= set(
        create_conn.__code__.co_varnames
    )


@pytest.mark.parametrize(
    ("given_url", "expected"),
    [
        ("postgres://u:p@h:5433/d", "postgresql+asyncpg://u:p@h:5433/d"),
        ("postgresql://u@/d?host=/tmp/socket", "postgresql+asyncpg://u@/d?host=%2Ftmp%2Fsocket"),
        ("postgresql+asyncpg://h/d?sslmode=require", "postgresql+asyncpg://h/d"),
        ("postgresql://u:postgres://@h/d", "postgresql+asyncpg://u:postgres%3A%2F%2F@h/d"),
    ],
)
def test_usual_postgres_urls_are_converted_for_asyncpg(given_url: str, expected: str) -> None:
    assert async_url(given_url).render_as_string(hide_password=False) == expected


def test_the_prefix_is_part_of_topic_and_group_names() -> None:
    settings = KafkaSettings(kafka_bootstrap_servers="a:1, b:2", kafka_topic_prefix="staging.")
    assert topic_name(settings, TICKS) == "staging.ticks"
    assert group_name(settings, "collector") == "staging.collector"
    assert bootstrap_list(settings) == ["a:1", "b:2"]


def test_each_topic_is_configured_as_declared() -> None:
    for topic in ALL_TOPICS:
        configs = topic_configs(topic, replicas=3)
        assert configs["min.insync.replicas"] == "2"
        assert (configs["retention.ms"] == "-1") == (configs["cleanup.policy"] == "compact")
    assert topic_configs(TICKS, replicas=1)["retention.ms"] == "86400000"
    assert topic_configs(CONFIG_CHANGES, replicas=1)["min.insync.replicas"] == "1"
    assert int(topic_configs(DEAD_LETTERS, 1)["max.message.bytes"]) > 1.34 * 1_048_576


def test_each_shared_metric_has_the_prefix_and_a_help_sentence() -> None:
    registry = CollectorRegistry()
    ConsumerMetrics(registry)
    PublisherMetrics(registry)
    for metric in registry.collect():
        assert metric.name.startswith("candlekeep_")
        assert metric.documentation.endswith(".")


def test_the_lag_of_a_revoked_partition_is_no_longer_reported() -> None:
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


def test_repeated_lines_of_a_noisy_library_are_dropped_but_never_our_lines() -> None:
    times = iter([0.1, 10, 29, 30.2, 31])
    log_filter = NotTooOften(("aiokafka",), every=30, monotonic=lambda: next(times))
    assert [log_filter.filter(a_line("aiokafka.conn")) for _ in range(4)] == [True, False, False, True]
    assert log_filter.filter(a_line("aiokafka.conn", "something else"))
    assert all(log_filter.filter(a_line("collector")) for _ in range(3))


def test_setting_the_wall_clock_back_does_not_drop_lines() -> None:
    times = iter([0.0, 31.0])
    log_filter = NotTooOften(("aiokafka",), every=30, monotonic=lambda: next(times))
    before, after = a_line("aiokafka.conn"), a_line("aiokafka.conn")
    after.created = before.created - 3600
    assert [log_filter.filter(before), log_filter.filter(after)] == [True, True]


def test_outages_are_retried_and_programming_errors_are_not() -> None:
    sqlalchemy_like = type("OperationalError", (Exception,), {"__module__": "sqlalchemy.exc"})
    assert is_outage(ConnectionRefusedError())
    assert is_outage(TimeoutError())
    assert is_outage(sqlalchemy_like())
    assert not is_outage(TypeError())
    assert not is_outage(LookupError())


class Task:
    """A background task that stops on request, fails, or does not stop."""

    def __init__(self, name: str, stopped: list[str], *, ignores_stop: bool = False, fails: bool = False) -> None:
        self.name, self.stopped, self.ignores_stop, self.fails = name, stopped, ignores_stop, fails
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        if self.fails:
            raise RuntimeError("broken")
        await (asyncio.Event() if self.ignores_stop else self.stopping).wait()
        self.stopped.append(self.name)

    async def stop(self) -> None:
        self.stopping.set()

    def background(self) -> Background:
        return Background(self.name, self.run, self.stop)


async def test_background_tasks_are_stopped_in_reverse_order() -> None:
    stopped: list[str] = []
    supervisor = Supervisor([Task(name, stopped).background() for name in ("outbox", "consumer")])
    stopping = asyncio.get_running_loop().create_future()
    stopping.set_result(True)
    assert await supervisor.run_until(stopping)
    assert await supervisor.stop(5)
    assert stopped == ["consumer", "outbox"]


async def test_if_a_background_task_ends_by_itself_the_others_are_stopped() -> None:
    stopped: list[str] = []
    tasks = [Task("healthy", stopped), Task("broken", stopped, fails=True)]
    supervisor = Supervisor([task.background() for task in tasks])
    assert not await supervisor.run_until(asyncio.get_running_loop().create_future())
    await supervisor.stop(5)
    assert stopped == ["healthy"]


async def test_a_background_task_that_does_not_stop_is_cancelled_after_the_grace_period() -> None:
    stopped: list[str] = []
    tasks = [Task("healthy", stopped), Task("ignores_stop", stopped, ignores_stop=True)]
    supervisor = Supervisor([task.background() for task in tasks])
    stopping = asyncio.get_running_loop().create_future()
    stopping.set_result(True)
    await supervisor.run_until(stopping)
    async with asyncio.timeout(5):
        assert await supervisor.stop(0.1)
    assert "ignores_stop" not in stopped


async def test_background_tasks_that_ignore_cancellation_are_waited_for_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.process.supervisor._CANCEL_SECONDS", 0.2)

    async def ignore_cancellation() -> None:
        for _ in range(2):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.5)

    async def do_nothing() -> None:
        return

    supervisor = Supervisor([Background(f"task {number}", ignore_cancellation, do_nothing) for number in range(5)])
    stopping = asyncio.get_running_loop().create_future()
    stopping.set_result(True)
    await supervisor.run_until(stopping)
    started_at = asyncio.get_running_loop().time()
    await supervisor.stop(0.1)
    assert asyncio.get_running_loop().time() - started_at < 0.8


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
