import random
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from runtime.consumers.offset_tracker import PartitionTracker

offsets = st.lists(st.integers(0, 5_000), min_size=1, max_size=80, unique=True).map(sorted)


def started(numbers: list[int]) -> PartitionTracker:
    tracker = PartitionTracker()
    for offset in numbers:
        assert tracker.start(offset)
    return tracker


@given(seen=offsets, data=st.data())
def test_the_watermark_never_passes_an_unfinished_offset(seen: list[int], data: st.DataObject) -> None:
    tracker = started(seen)
    unfinished = set(seen)
    for offset in data.draw(st.permutations(seen)):
        tracker.finish(offset)
        unfinished.discard(offset)
        expected = min(unfinished) if unfinished else seen[-1] + 1
        assert tracker.watermark == expected
    assert tracker.unfinished == 0


@given(seen=offsets, data=st.data())
def test_the_next_owner_repeats_exactly_the_unfinished_messages(seen: list[int], data: st.DataObject) -> None:
    finished = set(data.draw(st.lists(st.sampled_from(seen), unique=True)))
    before = started(seen)
    for offset in finished:
        before.finish(offset)
    committed, metadata = before.snapshot() or (0, "")

    after = PartitionTracker()
    after.restore(committed, metadata)
    repeated = [offset for offset in seen if offset >= committed and after.start(offset)]

    assert repeated == [offset for offset in seen if offset not in finished]


@given(seen=offsets, data=st.data())
def test_finished_offsets_survive_a_second_hand_over_in_which_they_are_not_read(
    seen: list[int], data: st.DataObject
) -> None:
    first = started(seen)
    finished = set(data.draw(st.lists(st.sampled_from(seen), unique=True)))
    for offset in finished:
        first.finish(offset)
    committed, metadata = first.snapshot() or (0, "")
    second = PartitionTracker()
    second.restore(committed, metadata)
    remaining = [offset for offset in seen if offset >= committed]
    if not remaining:
        return
    second.start(remaining[0])  # reads only the first message before it loses the partition

    third = PartitionTracker()
    third.restore(*(second.snapshot() or (0, "")))
    assert [offset for offset in remaining if third.start(offset)] == [o for o in seen if o not in finished]


@given(seen=offsets)
def test_a_message_delivered_again_is_not_started_again(seen: list[int]) -> None:
    tracker = started(seen)
    assert not any(tracker.start(offset) for offset in seen)
    for offset in seen[::2]:
        tracker.finish(offset)
    assert not any(tracker.start(offset) for offset in seen)


def test_nothing_is_committed_before_the_first_message_was_read() -> None:
    tracker = PartitionTracker()
    tracker.restore(10, "")
    assert tracker.snapshot() is None


def test_metadata_never_exceeds_the_limit_of_kafka_and_names_the_first_finished_offsets() -> None:
    rng = random.Random(20_261_127)
    offsets = range(300_000)
    before = started([*offsets])
    unfinished = {0, *rng.sample(offsets, 5_000)}  # without a pattern that could be compressed
    for offset in unfinished ^ {*offsets}:
        before.finish(offset)
    watermark, metadata = before.snapshot() or (-1, "")
    assert watermark == 0
    assert len(metadata) <= 4096
    after = PartitionTracker()
    after.restore(watermark, metadata)
    repeated = {offset for offset in offsets if after.start(offset)}
    assert repeated >= unfinished
    assert {offset for offset in repeated if offset < 50_000} == {each for each in unfinished if each < 50_000}


def test_the_size_of_a_tracker_depends_on_the_unfinished_offsets_only() -> None:
    tracker = PartitionTracker()
    tracker.start(0)
    tracemalloc.start()
    for offset in range(1, 200_000):
        tracker.start(offset)
        tracker.finish(offset)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tracker.watermark, tracker.position, tracker.unfinished) == (0, 200_000, 1)
    assert used < 10_000


def test_metadata_of_another_program_is_ignored() -> None:
    for metadata in ("not ours", "consumer-1", "😀", "\x00"):
        tracker = PartitionTracker()
        tracker.restore(5, metadata)
        assert tracker.start(6)


def test_finished_offsets_above_a_slow_one_do_not_count_as_unfinished() -> None:
    tracker = started([1, 2, 3])
    tracker.finish(2)
    assert tracker.unfinished == 2
    tracker.finish(1)
    assert tracker.unfinished == 1
