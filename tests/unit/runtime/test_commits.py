from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError, RequestTimedOutError

from runtime.consumers.commits import RebalanceSafeCommits

ZERO = TopicPartition("ticks", 0)


class Group:
    """A consumer as far as commits go, and what its group holds."""

    def __init__(self, *, generation: int = 1, error: KafkaError | None = None) -> None:
        self._coordinator = SimpleNamespace(generation=generation)
        self.error = error
        self.held: list[int] = []

    async def commit(self, offsets: dict[TopicPartition, Any]) -> None:
        if self.error is not None:
            raise self.error
        self.held += [each.offset for each in offsets.values()]


async def test_nothing_is_committed_from_revocation_until_assignment_but_for_the_last_word() -> None:
    gate, group = RebalanceSafeCommits(), Group()
    assert not await gate.commit(group, {ZERO: (1, "")}), "not assigned yet"
    gate.open()
    assert await gate.commit(group, {ZERO: (2, "")})
    gate.close()
    assert not await gate.commit(group, {ZERO: (3, "")})
    assert await gate.commit(group, {ZERO: (4, "")}, leaving=True)
    gate.open()
    assert await gate.commit(group, {ZERO: (5, "")})
    assert group.held == [2, 4, 5]


async def test_who_is_no_member_does_not_commit() -> None:
    gate, group = RebalanceSafeCommits(), Group(generation=-1)
    gate.open()
    assert not await gate.commit(group, {ZERO: (1, "")})
    assert group.held == []


async def test_the_same_is_committed_once_per_generation() -> None:
    gate, group = RebalanceSafeCommits(), Group()
    gate.open()
    for _ in range(3):
        assert await gate.commit(group, {ZERO: (1, "")})
    assert await gate.commit(group, {ZERO: (1, "more finished behind it")})
    gate.close()
    gate.open()
    assert await gate.commit(group, {ZERO: (1, "")})
    assert group.held == [1, 1, 1]


@pytest.mark.parametrize("error", [CommitFailedError(), RequestTimedOutError()])
async def test_a_failed_commit_is_said_and_tried_again_later(error: KafkaError) -> None:
    gate, group = RebalanceSafeCommits(), Group(error=error)
    gate.open()
    assert not await gate.commit(group, {ZERO: (1, "")})
    assert gate.last(ZERO) is None
    group.error = None
    assert await gate.commit(group, {ZERO: (1, "")})
    assert gate.last(ZERO) == 1
