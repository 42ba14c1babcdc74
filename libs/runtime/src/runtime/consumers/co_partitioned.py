"""Assigns the partitions of several topics that have the same number to one member of a consumer group. A rebalance
moves few partitions.

The first topic leads: aiokafka's sticky assignor assigns its partitions. Each member gets the same numbers of the other
topics. During a rolling upgrade, a member of the previous release may compute the assignment. It does not know this
rule. So each member also ignores a partition if it does not own the partition of the first topic with the same number.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from typing_extensions import override

from contracts.topics import Topic
from runtime.kafka.clients import topic_name
from runtime.settings import KafkaSettings


def co_partitioned(settings: KafkaSettings, topics: Sequence[Topic]) -> dict[str, Topic]:
    """The topics by name, the leading one first. Raises `ValueError` if they do not have the same number of
    partitions.
    """
    if len({topic.partitions for topic in topics}) != 1:
        raise ValueError("co-partitioned topics must have the same number of partitions")
    return {topic_name(settings, topic): topic for topic in topics}


def owned_of(assigned: Collection[TopicPartition], topics: Iterable[str]) -> set[TopicPartition]:
    """The assigned partitions for which the partition of the first topic with the same number is assigned, too."""
    lead = next(iter(topics))
    numbers = {each.partition for each in assigned if each.topic == lead}
    return {each for each in assigned if each.partition in numbers}


def assignor_of(topics: Iterable[str]) -> Any:
    """The assignor of one consumer that subscribes to these topics, the leading one first.

    A member that does not subscribe to all topics, such as a member of the previous release, gets only partitions of
    the topics to which it subscribes. The protocol has the same name as the sticky assignor, so both releases can be in
    one group.
    """
    # aiokafka stores the assignor's state in class attributes, hence one class per consumer.
    return type("CoPartitioned", (_CoPartitioned,), {"topics": tuple(topics)})


class _CoPartitioned(StickyPartitionAssignor):  # type: ignore[misc]  # aiokafka has no types
    topics: tuple[str, ...]

    @classmethod
    @override
    def assign(
        cls, cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        leading = super().assign(_OneTopic(cluster, cls.topics[0]), members)
        return {
            member: cls._with_the_other_topics(assignment, members[member].subscription)
            for member, assignment in leading.items()
        }

    @classmethod
    @override
    def parse_member_metadata(cls, metadata: ConsumerProtocolMemberMetadata) -> Any:
        """The member's subscription and its previous partitions, of the leading topic only."""
        parsed, lead = super().parse_member_metadata(metadata), cls.topics[0]
        return parsed._replace(
            subscription=[topic for topic in parsed.subscription if topic == lead],
            partitions=[each for each in parsed.partitions if each.topic == lead],
        )

    @classmethod
    def _with_the_other_topics(
        cls, assignment: ConsumerProtocolMemberAssignment, subscription: Collection[str]
    ) -> ConsumerProtocolMemberAssignment:
        numbers = [each.partition for each in assignment.partitions()]
        topics = sorted(set(cls.topics) & set(subscription)) if numbers else []
        return ConsumerProtocolMemberAssignment(cls.version, [(topic, numbers) for topic in topics], b"")


class _OneTopic:
    """The metadata of a cluster, limited to one topic. The sticky assignor also looks at topics without subscribers,
    and would then use its slower rules for unequal subscriptions.
    """

    def __init__(self, cluster: Any, topic: str) -> None:
        self._cluster, self._topic = cluster, topic

    def topics(self) -> set[str]:
        return {self._topic}

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return self._cluster.partitions_for_topic(topic) if topic == self._topic else None
