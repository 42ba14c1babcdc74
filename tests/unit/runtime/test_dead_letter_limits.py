import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.dead_letters.limits import DeadLetterLimiter
from runtime.settings import DeadLetterSettings

HERE, THERE = ("ticks", 0), ("ticks", 1)


def a_limiter(share: float = 1.0, consecutive: int = 1000, consecutive_at_start: int = 1000) -> DeadLetterLimiter:
    return DeadLetterLimiter(
        DeadLetterSettings(
            dead_letters_max_share=share,
            dead_letters_max_consecutive=consecutive,
            dead_letters_max_consecutive_at_start=consecutive_at_start,
        )
    )


def handle(limiter: DeadLetterLimiter, messages: int = 1) -> None:
    for _ in range(messages):
        limiter.readable(HERE)
    limiter.handled()


def fail(limiter: DeadLetterLimiter) -> str | None:
    limiter.readable(HERE)
    return limiter.failed()


def test_a_few_dead_letters_among_many_messages_never_stop_a_consumer() -> None:
    limiter = DeadLetterLimiter(DeadLetterSettings())
    for _ in range(500):
        handle(limiter, 9)
        assert limiter.unreadable(HERE) is None
        assert fail(limiter) is None


@pytest.mark.parametrize("what", ["unreadable", "failed"])
def test_too_many_dead_letters_in_a_row_stop(what: str) -> None:
    limiter = a_limiter(consecutive=20)
    one_more = (lambda: limiter.unreadable(HERE)) if what == "unreadable" else (lambda: fail(limiter))
    handle(limiter, 100)
    assert [one_more() for _ in range(20)] == [None] * 20
    assert "21 messages in a row" in (one_more() or "")


def test_a_handled_message_restarts_the_count() -> None:
    limiter = a_limiter(consecutive=20)
    handle(limiter, 100)
    for _ in range(20):
        for _ in range(20):
            assert limiter.unreadable(HERE) is None
        handle(limiter)


@pytest.mark.parametrize("what", ["unreadable", "failed"])
def test_the_limit_at_the_start_is_lower(what: str) -> None:
    limiter = a_limiter(consecutive=50, consecutive_at_start=10)
    one_more = (lambda: limiter.unreadable(HERE)) if what == "unreadable" else (lambda: fail(limiter))
    assert [one_more() for _ in range(10)] == [None] * 10
    assert "the first 11 messages since the start" in (one_more() or "")


def test_messages_that_are_readable_but_never_handled_do_not_lift_the_limit_at_the_start() -> None:
    limiter = a_limiter(consecutive_at_start=10)
    for _ in range(100):
        limiter.readable(HERE)
    assert limiter.unreadable(HERE) is None
    assert not limiter.proven
    assert [limiter.failed() for _ in range(10)] == [None] * 10
    assert "the first 11 messages since the start" in (limiter.failed() or "")


def test_readable_messages_in_flight_restart_the_count_of_unreadable_ones() -> None:
    limiter = a_limiter(consecutive=10, consecutive_at_start=10)
    for _ in range(40):
        limiter.readable(HERE)
        assert limiter.unreadable(HERE) is None


def test_readable_messages_of_another_partition_do_not_restart_the_count() -> None:
    limiter = a_limiter(consecutive=20)
    handle(limiter)
    for _ in range(20):
        assert limiter.unreadable(HERE) is None
        assert limiter.unreadable(THERE) is None
        limiter.readable(THERE)
    assert "21 messages in a row" in (limiter.unreadable(HERE) or "")


def test_before_the_first_readable_message_all_partitions_are_counted_together() -> None:
    limiter = a_limiter(consecutive_at_start=10)
    assert [limiter.unreadable(("ticks", number)) for number in range(10)] == [None] * 10
    assert "the first 11 messages since the start" in (limiter.unreadable(HERE) or "")


def test_a_share_above_the_limit_stops() -> None:
    limiter = a_limiter(share=0.25)
    handle(limiter, 300)
    dead = 0
    while (problem := limiter.unreadable(HERE)) is None:
        dead += 1
        handle(limiter)
    assert (
        problem
        == f"{dead + 1} of the last {300 + 2 * dead + 1} messages became dead letters (limit: DEAD_LETTERS_MAX_SHARE)"
    )
    assert (dead + 1) / (300 + 2 * dead + 1) == pytest.approx(0.25, abs=0.002)


def test_a_share_of_few_messages_does_not_count() -> None:
    limiter = a_limiter(share=0.0)
    handle(limiter)
    assert [limiter.unreadable(HERE) for _ in range(50)] == [None] * 50
    assert limiter.unreadable(HERE) is not None


def test_a_failed_message_counts_once_in_the_share() -> None:
    limiter = a_limiter(share=0.5)
    handle(limiter, 100)
    for _ in range(100):
        limiter.readable(HERE)
        assert limiter.failed() is None
    assert fail(limiter) == "101 of the last 201 messages became dead letters (limit: DEAD_LETTERS_MAX_SHARE)"


def test_an_exceeded_limit_stays_exceeded() -> None:
    limiter = a_limiter(consecutive=5)
    handle(limiter)
    problem = [limiter.unreadable(HERE) for _ in range(6)][-1]
    handle(limiter, 100)
    assert problem is not None
    assert limiter.unreadable(HERE) == problem


@given(steps=st.lists(st.sampled_from(["handle", "unreadable", "failed"]), max_size=200))
def test_no_mixture_allows_more_unreadable_messages_in_a_row_than_the_limit(steps: list[str]) -> None:
    limiter, run = a_limiter(consecutive=5, consecutive_at_start=3), 0
    for step in steps:
        if step == "handle":
            handle(limiter)
            run = 0
        else:
            problem = limiter.unreadable(HERE) if step == "unreadable" else fail(limiter)
            if problem is not None:
                return
            run += step == "unreadable"
            if step == "failed":
                run = 0  # it was readable
            assert run <= 5
