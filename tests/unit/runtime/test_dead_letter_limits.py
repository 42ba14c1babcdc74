import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.dead_letters.limits import DeadLetterLimiter
from runtime.settings import DeadLetterSettings

HERE, THERE = ("ticks", 0), ("ticks", 1)


def a_tally(share: float = 1.0, run: int = 1000, run_at_start: int = 1000) -> DeadLetterLimiter:
    return DeadLetterLimiter(
        DeadLetterSettings(
            dead_letters_max_share=share,
            dead_letters_max_consecutive=run,
            dead_letters_max_consecutive_at_start=run_at_start,
        )
    )


def well(tally: DeadLetterLimiter, messages: int = 1) -> None:
    for _ in range(messages):
        tally.readable(HERE)
    tally.handled()


def fail(tally: DeadLetterLimiter) -> str | None:
    tally.readable(HERE)
    return tally.failed()


def test_a_few_among_many_never_stop_a_consumer() -> None:
    tally = DeadLetterLimiter(DeadLetterSettings())
    for _ in range(500):
        well(tally, 9)
        assert tally.unreadable(HERE) is None
        assert fail(tally) is None


@pytest.mark.parametrize("what", ["unreadable", "failed"])
def test_a_run_stops_at_its_limit(what: str) -> None:
    tally = a_tally(run=20)
    one_more = (lambda: tally.unreadable(HERE)) if what == "unreadable" else (lambda: fail(tally))
    well(tally, 100)
    assert [one_more() for _ in range(20)] == [None] * 20
    assert "21 messages in a row" in (one_more() or "")


def test_a_message_that_is_handled_ends_a_run() -> None:
    tally = a_tally(run=20)
    well(tally, 100)
    for _ in range(20):
        for _ in range(20):
            assert tally.unreadable(HERE) is None
        well(tally)


@pytest.mark.parametrize("what", ["unreadable", "failed"])
def test_the_first_run_since_the_start_stops_sooner(what: str) -> None:
    tally = a_tally(run=50, run_at_start=10)
    one_more = (lambda: tally.unreadable(HERE)) if what == "unreadable" else (lambda: fail(tally))
    assert [one_more() for _ in range(10)] == [None] * 10
    assert "the first 11 messages since the start" in (one_more() or "")


def test_messages_that_can_be_read_but_never_handled_are_no_proof() -> None:
    tally = a_tally(run_at_start=10)
    for _ in range(100):
        tally.readable(HERE)
    assert tally.unreadable(HERE) is None
    assert not tally.proven
    assert [tally.failed() for _ in range(10)] == [None] * 10
    assert "the first 11 messages since the start" in (tally.failed() or "")


def test_readable_messages_still_being_handled_end_a_run_of_unreadable_ones() -> None:
    tally = a_tally(run=10, run_at_start=10)
    for _ in range(40):
        tally.readable(HERE)
        assert tally.unreadable(HERE) is None


def test_good_messages_of_another_partition_end_no_run() -> None:
    tally = a_tally(run=20)
    well(tally)
    for _ in range(20):
        assert tally.unreadable(HERE) is None
        assert tally.unreadable(THERE) is None
        tally.readable(THERE)
    assert "21 messages in a row" in (tally.unreadable(HERE) or "")


def test_before_anything_could_be_read_all_partitions_are_one_run() -> None:
    tally = a_tally(run_at_start=10)
    assert [tally.unreadable(("ticks", number)) for number in range(10)] == [None] * 10
    assert "the first 11 messages since the start" in (tally.unreadable(HERE) or "")


def test_too_large_a_share_stops() -> None:
    tally = a_tally(share=0.25)
    well(tally, 300)
    aside = 0
    while (verdict := tally.unreadable(HERE)) is None:
        aside += 1
        well(tally)
    assert (
        verdict
        == f"{aside + 1} of the last {300 + 2 * aside + 1} messages were put aside (limit: DEAD_LETTERS_MAX_SHARE)"
    )
    assert (aside + 1) / (300 + 2 * aside + 1) == pytest.approx(0.25, abs=0.002)


def test_a_share_of_few_messages_means_nothing() -> None:
    tally = a_tally(share=0.0)
    well(tally)
    assert [tally.unreadable(HERE) for _ in range(50)] == [None] * 50
    assert tally.unreadable(HERE) is not None


def test_a_failed_message_counts_once_in_the_share() -> None:
    tally = a_tally(share=0.5)
    well(tally, 100)
    for _ in range(100):
        tally.readable(HERE)
        assert tally.failed() is None
    assert fail(tally) == "101 of the last 201 messages were put aside (limit: DEAD_LETTERS_MAX_SHARE)"


def test_once_it_has_fallen_a_verdict_stands() -> None:
    tally = a_tally(run=5)
    well(tally)
    verdict = [tally.unreadable(HERE) for _ in range(6)][-1]
    well(tally, 100)
    assert verdict is not None
    assert tally.unreadable(HERE) == verdict


@given(steps=st.lists(st.sampled_from(["well", "unreadable", "failed"]), max_size=200))
def test_no_mixture_lets_more_than_a_run_pass(steps: list[str]) -> None:
    tally, run = a_tally(run=5, run_at_start=3), 0
    for step in steps:
        if step == "well":
            well(tally)
            run = 0
        else:
            verdict = tally.unreadable(HERE) if step == "unreadable" else fail(tally)
            if verdict is not None:
                return
            run += step == "unreadable"
            if step == "failed":
                run = 0  # it was readable
            assert run <= 5
