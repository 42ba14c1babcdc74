"""Reads the consumer groups of the services from Kafka: their members, and how many messages they have not handled."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from runtime.kafka.client_lifecycle import close_consumer, close_in_time
from runtime.kafka.clients import build_admin, build_consumer, group_name
from runtime.settings import KafkaSettings

TIMEOUT_SECONDS: Final = 4.0
_NO_MEMBERS: Final = frozenset({"Empty", "Dead"})
_STABLE: Final = "Stable"


class KafkaUnavailable(Exception):  # noqa: N818 -- the name states the problem
    """Kafka does not answer in time, or refuses the request; the message says why."""


@dataclass(frozen=True)
class Group:
    """One consumer group. `members` and `is_stable` are None if this Kafka cannot describe groups."""

    members: int | None
    is_stable: bool | None
    lag: int
    """Messages that no member has handled yet, over all partitions that the group has committed."""


async def read_groups(settings: KafkaSettings, names: Sequence[str]) -> dict[str, Group]:
    """The groups by name. Raises `KafkaUnavailable`."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS), AsyncExitStack() as stack:
            admin = build_admin(settings)
            stack.push_async_callback(close_in_time, admin.close(), "A client could not disconnect", action="lag")
            await admin.start()
            consumer = build_consumer(settings, group="lag", client_id="admin-api-lag", group_id=None)
            stack.push_async_callback(close_consumer, consumer)
            await consumer.start()
            committed = {name: await committed_offsets(admin, group_name(settings, name)) for name in names}
            partitions = [each for offsets in committed.values() for each in offsets]
            ends = await consumer.end_offsets(list(dict.fromkeys(partitions)))
            described = await _described(admin, [group_name(settings, name) for name in names])
    except (KafkaError, OSError, TimeoutError) as error:
        raise KafkaUnavailable(str(error) or type(error).__name__) from error
    return {
        name: Group(*described.get(group_name(settings, name), (None, None)), lag_of(committed[name], ends))
        for name in names
    }


def lag_of(committed: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> int:
    """The number of messages after the committed offsets.

    If a topic was created again, it may end before its committed offset. Its lag is then 0. Pure.
    """
    return sum(max(0, ends[partition] - offset) for partition, offset in committed.items())


async def committed_offsets(admin: AIOKafkaAdminClient, group: str) -> dict[TopicPartition, int]:
    """The committed offset of each partition for which the group has one. `group` is its name on the cluster."""
    offsets = await admin.list_consumer_group_offsets(group)
    return {partition: each.offset for partition, each in offsets.items() if each.offset >= 0}


async def _described(admin: AIOKafkaAdminClient, groups: list[str]) -> dict[str, tuple[int | None, bool | None]]:
    """The number of members, and whether each has its partitions. Empty if this Kafka cannot describe groups.

    One request per group: aiokafka decodes version 3 of the response without its last field, so it cannot read a
    second group.
    """
    try:
        answers: list[Any] = [one for group in groups for one in await admin.describe_consumer_groups([group])]
    except KafkaError:
        return {}
    found: dict[str, tuple[int | None, bool | None]] = {}
    for answer in answers:
        for error, group, state, _, _, members, *_ in answer.groups:
            if error == 0:
                found[group] = (0 if state in _NO_MEMBERS else len(members), state == _STABLE)
    return found
