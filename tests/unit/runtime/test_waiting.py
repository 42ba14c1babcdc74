"""Back-off, and waiting with a time limit."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.waiting import Backoff, exponential_delay, wait_for_event

SECONDS = st.floats(min_value=0.001, max_value=1000)


def test_delays_double_until_the_maximum() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.next_delay() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_after_a_reset_the_initial_delay_comes_first() -> None:
    backoff = Backoff(0.5, 3.0)
    backoff.next_delay()
    backoff.reset()
    assert backoff.next_delay() == 0.5


@given(SECONDS, SECONDS, st.integers(0, 5000))
def test_a_delay_never_exceeds_the_maximum_and_never_overflows(initial: float, maximum: float, retries: int) -> None:
    assert 0 < exponential_delay(initial, maximum, retries) <= maximum


@given(SECONDS, SECONDS)
def test_jitter_takes_at_most_half_of_the_delay(initial: float, maximum: float) -> None:
    backoff = Backoff(initial, maximum, jitter=True)
    for retries in range(6):
        whole = exponential_delay(initial, maximum, retries)
        assert whole / 2 <= backoff.next_delay() <= whole


async def test_waiting_for_an_event_ends_when_it_is_set() -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await wait_for_event(event, 60) is True


async def test_waiting_for_an_event_ends_after_the_seconds() -> None:
    assert await wait_for_event(asyncio.Event(), 0.01) is False


@pytest.mark.parametrize(("is_set", "expected"), [(True, True), (False, False)])
async def test_a_back_off_is_cut_short_by_its_event(is_set: bool, expected: bool) -> None:
    event = asyncio.Event()
    if is_set:
        event.set()
    assert await Backoff(0.01, 0.01).sleep_unless(event) is expected
