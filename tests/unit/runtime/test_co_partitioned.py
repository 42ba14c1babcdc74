"""Assignments of co-partitioned topics, as the leader of a group computes them."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from hypothesis import given
from hypothesis import strategies as st

from contracts.topics import RANGE_REQUESTS, RUN_EVENTS, TICKS
from runtime.consumers.co_partitioned import assignor_of, co_partitioned, owned_of
from runtime.settings import KafkaSettings

TOPICS = ("ticks", "range-requests")
PARTITIONS = 24


class Cluster:
    def topics(self) -> set[str]:
        return {*TOPICS, "another"}

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(PARTITIONS))


class Member:
    """A member of the group, which keeps its assignor's state as a consumer does."""

    def __init__(self, topics: tuple[str, ...] = TOPICS) -> None:
        self.topics = topics
        self.assignor: Any = (
            assignor_of(topics) if len(topics) > 1 else type("Sticky", (StickyPartitionAssignor,), {})  # the old one
        )

    def take(self, assignment: ConsumerProtocolMemberAssignment, generation: int) -> set[TopicPartition]:
        self.assignor.on_assignment(assignment)
        self.assignor.on_generation_assignment(generation)
        return set(assignment.partitions())


def rebalance(members: Mapping[str, Member], leader: str, generation: int) -> dict[str, set[TopicPartition]]:
    metadata = {name: member.assignor.metadata(member.topics) for name, member in members.items()}
    assignments = members[leader].assignor.assign(Cluster(), metadata)
    return {name: member.take(assignments[name], generation) for name, member in members.items()}


def numbers(partitions: set[TopicPartition], topic: str) -> set[int]:
    return {each.partition for each in partitions if each.topic == topic}


def check(found: Mapping[str, set[TopicPartition]]) -> None:
    owners = Counter(each for partitions in found.values() for each in partitions)
    assert owners == Counter({TopicPartition(topic, number): 1 for topic in TOPICS for number in range(PARTITIONS)})
    sizes = [len(numbers(partitions, "ticks")) for partitions in found.values()]
    assert max(sizes) - min(sizes) <= 1
    for partitions in found.values():
        assert numbers(partitions, "range-requests") == numbers(partitions, "ticks")


@given(st.lists(st.sampled_from(["join", "leave", "stay"]), max_size=12), st.randoms(use_true_random=False))
def test_equal_numbers_go_to_one_member_and_few_partitions_move(changes: list[str], rng: Any) -> None:
    members, names = {"member 0": Member()}, iter(range(1, 100))
    before = rebalance(members, "member 0", 1)
    check(before)
    for generation, change in enumerate(changes, 2):
        if change == "join":
            members[f"member {next(names)}"] = Member()
        elif change == "leave" and len(members) > 1:
            del members[rng.choice(sorted(members))]
        found = rebalance(members, rng.choice(sorted(members)), generation)
        check(found)
        stayed = [name for name in members if name in before]
        kept = sum(len(found[name] & before[name]) for name in stayed)
        room = 2 * sum(min(len(before[name]) // 2, -(-PARTITIONS // len(members))) for name in stayed)
        assert kept >= room - 2 * len(members), "more partitions moved than the balance demands"
        before = found


def test_a_leader_of_this_release_gives_a_member_of_the_last_release_no_partition_that_it_does_not_read() -> None:
    found = rebalance({"old": Member(TOPICS[:1]), "new": Member()}, "new", 1)
    assert numbers(found["old"], "range-requests") == set()
    assert numbers(found["new"], "range-requests") == numbers(found["new"], "ticks")
    assert numbers(found["old"], "ticks") | numbers(found["new"], "ticks") == set(range(PARTITIONS))


def test_with_a_leader_of_the_last_release_a_member_ignores_partitions_of_lanes_that_it_does_not_own() -> None:
    members = {"old": Member(TOPICS[:1]), "new": Member()}
    found = rebalance(members, "old", 1)
    assert numbers(found["new"], "range-requests") - numbers(found["new"], "ticks"), "the leader does not know the rule"
    owned = owned_of(found["new"], TOPICS)
    assert numbers(owned, "range-requests") <= numbers(owned, "ticks") == numbers(found["new"], "ticks")
    check(rebalance({"new": members["new"]}, "new", 2))


def test_topics_with_different_numbers_of_partitions_are_refused() -> None:
    settings = KafkaSettings(kafka_bootstrap_servers="nowhere:1")
    assert list(co_partitioned(settings, [TICKS, RANGE_REQUESTS])) == list(TOPICS)
    with pytest.raises(ValueError, match="same number of partitions"):
        co_partitioned(settings, [TICKS, RUN_EVENTS])
