"""The state of a service follows from its consumer group, and Kafka is asked at most every few seconds."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest
from aiokafka import TopicPartition

from admin_api.services.groups import Group, KafkaUnavailable, lag_of
from admin_api.services.monitor import INTERVAL_SECONDS, SERVICES, ServiceMonitor, state_of

NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("group", "state"),
    [
        (Group(2, True, 0), "working"),
        (Group(2, False, 0), "rebalancing"),
        (Group(0, False, 7), "stopped"),
        (Group(None, None, 7), "unknown"),
    ],
)
def test_the_state_follows_from_the_members_of_the_group(group: Group, state: str) -> None:
    found = state_of("collector", group, NOW)
    assert (found.service, found.state, found.instances, found.lag) == ("collector", state, group.members, group.lag)
    assert (found.detail is not None) == (state == "unknown")


def test_the_lag_counts_messages_behind_the_committed_offsets_and_is_never_negative() -> None:
    first, second, recreated = (TopicPartition("runs", number) for number in range(3))
    committed = {first: 10, second: 5, recreated: 100}
    assert lag_of(committed, {first: 12, second: 5, recreated: 3}) == 2


async def test_kafka_is_asked_once_for_many_requests_and_its_silence_is_a_state() -> None:
    now, asked, silent = 0.0, 0, False

    async def read(names: Sequence[str]) -> Mapping[str, Group]:
        nonlocal asked
        asked += 1
        if silent:
            raise KafkaUnavailable("no broker")
        return {name: Group(1, True, 3) for name in names}

    monitor = ServiceMonitor(read, monotonic=lambda: now)
    for _ in range(3):
        assert [each.service for each in await monitor.states()] == list(SERVICES)
    assert asked == 1
    now, silent = INTERVAL_SECONDS, True
    found = await monitor.states()
    assert {(each.state, each.instances, each.lag) for each in found} == {("unknown", None, None)}
    assert found[0].detail == "Kafka does not answer: no broker"
    assert asked == 2
