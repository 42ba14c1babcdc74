import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from runtime.consumers.retention_check import RetentionCheck
from runtime.consumers.table_positions import Log, TablePositions
from runtime.metrics import ConsumerMetrics
from support.records import a_record

CONFIGS, STATES, RUNS = (TopicPartition(topic, 3) for topic in ("configs", "states", "runs"))


def positions(**known: int) -> TablePositions:
    retention = RetentionCheck("g", ConsumerMetrics(CollectorRegistry()))
    made = TablePositions(tables=("configs", "states"), live=("runs",), retention=retention)
    for topic, offset in known.items():
        made.moved(TopicPartition(topic, 3), offset)
    return made


def logs(*, begin: int = 0, end: int = 100, committed: int | None = None) -> dict[TopicPartition, Log]:
    return {each: Log(begin, end, committed) for each in (CONFIGS, STATES, RUNS)}


def test_a_new_partition_is_read_from_the_beginning_and_its_live_topic_from_the_end() -> None:
    opening = positions().opening(3, logs())
    assert opening.from_beginning
    assert dict(opening.start) == {CONFIGS: 0, STATES: 0, RUNS: 100}
    assert dict(opening.end) == {CONFIGS: 100, STATES: 100}


def test_a_live_topic_goes_on_at_the_groups_commit() -> None:
    assert positions().opening(3, logs(committed=40)).start == {CONFIGS: 0, STATES: 0, RUNS: 40}


def test_a_partition_that_is_given_back_goes_on_where_it_stopped() -> None:
    opening = positions(configs=90, states=80, runs=70).opening(3, logs(committed=40))
    assert not opening.from_beginning
    assert opening.start == {CONFIGS: 90, STATES: 80, RUNS: 70}


@pytest.mark.parametrize(
    ("known", "seen"),
    [
        ({"configs": 90}, logs()),  # the other table was not read yet
        ({"configs": 90, "states": 80}, logs(begin=85)),  # retention passed us by
        ({"configs": 90, "states": 80}, logs(end=50)),  # another log under the same name
    ],
)
def test_a_book_that_cannot_be_continued_is_read_anew(known: dict[str, int], seen: dict[TopicPartition, Log]) -> None:
    opening = positions(**known).opening(3, seen)
    assert opening.from_beginning
    assert (opening.start[CONFIGS], opening.start[STATES]) == (seen[CONFIGS].beginning, seen[STATES].beginning)


@given(
    begin=st.integers(0, 50),
    length=st.integers(0, 50),
    committed=st.none() | st.integers(0, 150),
    known=st.none() | st.integers(0, 150),
)
def test_whatever_kafka_says_no_partition_starts_outside_its_log(
    begin: int, length: int, committed: int | None, known: int | None
) -> None:
    kept = {} if known is None else {"configs": known, "states": known, "runs": known}
    opening = positions(**kept).opening(3, logs(begin=begin, end=begin + length, committed=committed))
    assert all(begin <= offset <= begin + length for offset in opening.start.values())


def test_live_means_every_table_has_reached_its_end() -> None:
    end = {CONFIGS: 10, STATES: 5}
    assert not positions(configs=10).reached(end)
    assert not positions(configs=10, states=4).reached(end)
    assert positions(configs=10, states=5).reached(end)


def test_only_numbers_that_are_owned_in_every_topic_are_used() -> None:
    assigned = {TopicPartition(topic, number) for topic in ("configs", "states", "runs") for number in (1, 2)}
    assert positions().complete(assigned) == {1, 2}
    assert positions().complete(assigned - {TopicPartition("states", 2)}) == {1}
    assert positions().complete(set()) == set()


def test_what_others_own_is_forgotten() -> None:
    held = positions(configs=5)
    held.moved(TopicPartition("configs", 4), 9)
    assert held.keep_only({4}) == {3}
    assert held.known() == {4}


def test_a_restore_never_rewinds_the_groups_commits() -> None:
    held = positions(configs=5, states=50)
    held.note_commits(logs(committed=20))
    assert held.to_commit({3}) == {STATES: (50, "")}
    assert held.was_committed(a_record(topic="configs", partition=3, offset=19))
    assert not held.was_committed(a_record(topic="configs", partition=3, offset=20))
