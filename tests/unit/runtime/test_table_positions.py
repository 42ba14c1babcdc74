import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from runtime.consumers.retention_check import RetentionCheck
from runtime.consumers.table_positions import PartitionOffsets, TablePositions
from runtime.metrics import ConsumerMetrics
from support.records import a_record

CONFIGS, STATES, RUNS = (TopicPartition(topic, 3) for topic in ("configs", "states", "runs"))


def positions(**known: int) -> TablePositions:
    retention = RetentionCheck("g", ConsumerMetrics(CollectorRegistry()))
    made = TablePositions(tables=("configs", "states"), live=("runs",), retention=retention)
    for topic, offset in known.items():
        made.set_next(TopicPartition(topic, 3), offset)
    return made


def all_offsets(
    *, begin: int = 0, end: int = 100, committed: int | None = None
) -> dict[TopicPartition, PartitionOffsets]:
    return {each: PartitionOffsets(begin, end, committed) for each in (CONFIGS, STATES, RUNS)}


def test_a_new_partition_is_read_from_the_beginning() -> None:
    """Also its live topic: an owner that died before its first commit may have left effects unpublished."""
    plan = positions().recovery_plan(3, all_offsets())
    assert plan.from_beginning
    assert dict(plan.start) == {CONFIGS: 0, STATES: 0, RUNS: 0}
    assert dict(plan.end) == {CONFIGS: 100, STATES: 100}


def test_a_live_topic_continues_at_the_commit_of_the_group() -> None:
    assert positions().recovery_plan(3, all_offsets(committed=40)).start == {CONFIGS: 0, STATES: 0, RUNS: 40}


def test_a_partition_that_is_assigned_again_continues_at_its_position() -> None:
    plan = positions(configs=90, states=80, runs=70).recovery_plan(3, all_offsets(committed=40))
    assert not plan.from_beginning
    assert plan.start == {CONFIGS: 90, STATES: 80, RUNS: 70}


@pytest.mark.parametrize(
    ("known", "found"),
    [
        ({"configs": 90}, all_offsets()),  # the other table was not read yet
        ({"configs": 90, "states": 80}, all_offsets(begin=85)),  # retention deleted the next message
        ({"configs": 90, "states": 80}, all_offsets(end=50)),  # the topic was recreated
    ],
)
def test_tables_that_cannot_be_continued_are_read_from_the_beginning(
    known: dict[str, int], found: dict[TopicPartition, PartitionOffsets]
) -> None:
    plan = positions(**known).recovery_plan(3, found)
    assert plan.from_beginning
    assert (plan.start[CONFIGS], plan.start[STATES]) == (found[CONFIGS].beginning, found[STATES].beginning)


@given(
    begin=st.integers(0, 50),
    length=st.integers(0, 50),
    committed=st.none() | st.integers(0, 150),
    known=st.none() | st.integers(0, 150),
)
def test_no_partition_starts_outside_its_log(begin: int, length: int, committed: int | None, known: int | None) -> None:
    own = {} if known is None else {"configs": known, "states": known, "runs": known}
    plan = positions(**own).recovery_plan(3, all_offsets(begin=begin, end=begin + length, committed=committed))
    assert all(begin <= offset <= begin + length for offset in plan.start.values())


def test_a_partition_is_live_when_every_table_has_reached_its_end() -> None:
    end = {CONFIGS: 10, STATES: 5}
    assert not positions(configs=10).reached(end)
    assert not positions(configs=10, states=4).reached(end)
    assert positions(configs=10, states=5).reached(end)


def test_only_partition_numbers_that_are_assigned_in_every_topic_are_used() -> None:
    assigned = {TopicPartition(topic, number) for topic in ("configs", "states", "runs") for number in (1, 2)}
    assert positions().complete(assigned) == {1, 2}
    assert positions().complete(assigned - {TopicPartition("states", 2)}) == {1}
    assert positions().complete(set()) == set()


def test_positions_of_partitions_of_other_members_are_dropped() -> None:
    owned = positions(configs=5)
    owned.set_next(TopicPartition("configs", 4), 9)
    assert owned.keep_only({4}) == {3}
    assert owned.known() == {4}


def test_a_restore_never_rewinds_the_commits_of_the_group() -> None:
    owned = positions(configs=5, states=50)
    owned.note_commits(all_offsets(committed=20))
    assert owned.to_commit({3}) == {STATES: (50, "")}
    assert owned.was_committed(a_record(topic="configs", partition=3, offset=19))
    assert not owned.was_committed(a_record(topic="configs", partition=3, offset=20))
