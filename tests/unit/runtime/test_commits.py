from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError, RequestTimedOutError

from runtime.consumers.commits import RebalanceSafeCommits

ZERO = TopicPartition("ticks", 0)


class Group:
    """The part of a consumer that commits use, with the offsets that its group has stored."""

    def __init__(self, *, generation: int = 1, error: KafkaError | None = None) -> None:
        self._coordinator = SimpleNamespace(generation=generation)
        self.error = error
        self.stored: list[int] = []

    async def commit(self, offsets: dict[TopicPartition, Any]) -> None:
        if self.error is not None:
            raise self.error
        self.stored += [each.offset for each in offsets.values()]


async def test_nothing_is_committed_between_revocation_and_assignment_except_by_the_leaving_owner() -> None:
    commits, group = RebalanceSafeCommits(), Group()
    assert not await commits.commit(group, {ZERO: (1, "")}), "not assigned yet"
    commits.open()
    assert await commits.commit(group, {ZERO: (2, "")})
    commits.close()
    assert not await commits.commit(group, {ZERO: (3, "")})
    assert await commits.commit(group, {ZERO: (4, "")}, leaving=True)
    commits.open()
    assert await commits.commit(group, {ZERO: (5, "")})
    assert group.stored == [2, 4, 5]


async def test_a_consumer_that_is_not_a_member_does_not_commit() -> None:
    commits, group = RebalanceSafeCommits(), Group(generation=-1)
    commits.open()
    assert not await commits.commit(group, {ZERO: (1, "")})
    assert group.stored == []


async def test_an_unchanged_offset_is_committed_once_per_generation() -> None:
    commits, group = RebalanceSafeCommits(), Group()
    commits.open()
    for _ in range(3):
        assert await commits.commit(group, {ZERO: (1, "")})
    assert await commits.commit(group, {ZERO: (1, "further offsets are finished")})
    commits.close()
    commits.open()
    assert await commits.commit(group, {ZERO: (1, "")})
    assert group.stored == [1, 1, 1]


@pytest.mark.parametrize("error", [CommitFailedError(), RequestTimedOutError()])
async def test_a_failed_commit_is_reported_and_can_be_tried_again(error: KafkaError) -> None:
    commits, group = RebalanceSafeCommits(), Group(error=error)
    commits.open()
    assert not await commits.commit(group, {ZERO: (1, "")})
    assert commits.last(ZERO) is None
    group.error = None
    assert await commits.commit(group, {ZERO: (1, "")})
    assert commits.last(ZERO) == 1
