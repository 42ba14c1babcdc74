"""Each check of the doctor, with good and bad readings."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from admin_api.doctor.judging import (
    PartitionReading,
    TopicReading,
    clock_check,
    encryption_check,
    group_check,
    outbox_check,
    roles_check,
    topic_check,
)
from admin_api.doctor.results import Check, State, exit_code, failed, ok, warning
from admin_api.services.groups import Group

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
SETTINGS = {"cleanup.policy": "compact", "retention.ms": "-1"}
GOOD_TOPIC = TopicReading(partitions=12, replicas=3, settings={**SETTINGS, "segment.bytes": "1"})
AT_WORK = Group(members=2, is_stable=True, lag=3)
HEALTHY = PartitionReading("ticks", committed=90, beginning=0, end=100)


def _topic(found: TopicReading | None, brokers: int = 3) -> Check:
    return topic_check("config-changes", found, partitions=12, brokers=brokers, settings=SETTINGS)


@pytest.mark.parametrize(
    ("found", "state", "word"),
    [
        (GOOD_TOPIC, State.OK, "12 partitions"),
        (None, State.FAILED, "missing"),
        (replace(GOOD_TOPIC, partitions=1), State.FAILED, "1 partitions, 12 are declared"),
        (replace(GOOD_TOPIC, settings={"cleanup.policy": "delete"}), State.WARNING, "retention.ms is not set"),
        (replace(GOOD_TOPIC, replicas=1), State.WARNING, "1 replica"),
    ],
)
def test_a_topic(found: TopicReading | None, state: State, word: str) -> None:
    check = _topic(found)
    assert check.state is state
    assert word in check.found
    assert bool(check.advice) == (state is not State.OK)


def test_one_replica_is_right_for_one_broker() -> None:
    assert _topic(replace(GOOD_TOPIC, replicas=1), brokers=1).state is State.OK


@pytest.mark.parametrize(
    ("group", "offsets", "state", "word"),
    [
        (AT_WORK, HEALTHY, State.OK, "2 instances"),
        (replace(AT_WORK, members=None), HEALTHY, State.OK, "unknown instances"),
        (replace(AT_WORK, members=0, lag=7), HEALTHY, State.FAILED, "no instance is connected, 7 messages"),
        (replace(AT_WORK, lag=5_000), HEALTHY, State.WARNING, "5000 messages wait"),
        (AT_WORK, replace(HEALTHY, committed=10, beginning=20), State.FAILED, "retention deleted"),
        (AT_WORK, replace(HEALTHY, committed=30, beginning=20), State.FAILED, "more than 80%"),
        # All messages of a new topic may be unread.
        (AT_WORK, replace(HEALTHY, committed=0), State.OK, "2 instances"),
    ],
)
def test_a_consumer_group(group: Group, offsets: PartitionReading, state: State, word: str) -> None:
    check = group_check("collector", group, [HEALTHY, offsets])
    assert check.state is state
    assert word in check.found


@pytest.mark.parametrize(
    ("ahead", "state"), [(0.05, State.OK), (-1, State.OK), (3, State.WARNING), (-3, State.WARNING), (60, State.FAILED)]
)
def test_a_clock(ahead: float, state: State) -> None:
    after = NOW + timedelta(seconds=0.1)
    assert clock_check("Postgres", NOW + timedelta(seconds=ahead), NOW, after).state is state


def test_a_slow_answer_does_not_make_a_clock_wrong() -> None:
    assert clock_check("Postgres", NOW + timedelta(seconds=7), NOW, NOW + timedelta(seconds=10)).state is State.OK


def test_roles() -> None:
    assert roles_check({"a": False, "b": False}, ["a", "b"]).state is State.OK
    assert roles_check({"a": False}, ["a", "b"]).state is State.WARNING
    mighty = roles_check({"a": True, "b": False}, ["a", "b"])
    assert (mighty.state, "administrators: a" in mighty.found) == (State.FAILED, True)


def test_encryption_counts_only_between_machines() -> None:
    states = [
        encryption_check("Kafka", host, encrypted=encrypted).state
        for host, encrypted in (("db.example.com", True), ("127.0.0.1", False), ("db.example.com", False))
    ]
    assert states == [State.OK, State.OK, State.WARNING]


def test_an_outbox_that_does_not_drain_is_a_failure() -> None:
    assert outbox_check(0, None, NOW).state is State.OK
    assert outbox_check(3, NOW - timedelta(seconds=10), NOW).state is State.OK
    assert outbox_check(3, NOW - timedelta(minutes=5), NOW).state is State.FAILED


def test_only_failures_change_the_exit_code() -> None:
    assert exit_code([ok("a", "x"), warning("b", "x", "y")]) == 0
    assert exit_code([ok("a", "x"), failed("b", "x", "y")]) == 1
    assert failed("b", "is bad", "mend it").line == "failed  b: is bad\n        -> mend it"
