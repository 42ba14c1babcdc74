from hypothesis import given
from hypothesis import strategies as st

from collector.exchange.failures import ExchangeFailure
from collector.run.retry_policy import RetryPolicy, wait_before_retry
from contracts.vocabulary import ErrorClass

POLICY = RetryPolicy(initial_wait=0.5, max_wait=20.0, max_retries=8)


def failure(
    error_class: ErrorClass = ErrorClass.UNAVAILABLE, *, retryable: bool = True, retry_after: float | None = None
) -> ExchangeFailure:
    return ExchangeFailure(error_class, "refused", retryable=retryable, retry_after=retry_after)


def wait(failed: ExchangeFailure, retries: int = 0, remaining: float = 1e6, jitter: float = 0.0) -> float | None:
    return wait_before_retry(POLICY, failed, retries=retries, remaining=remaining, jitter=jitter)


JITTER = st.floats(0, 1, exclude_max=True)


@given(st.integers(0, 20), JITTER)
def test_permanent_errors_are_not_retried(retries: int, jitter: float) -> None:
    assert wait(failure(ErrorClass.BAD_SYMBOL, retryable=False), retries, jitter=jitter) is None


@given(st.integers(0, 7), JITTER)
def test_waits_double_with_jitter_up_to_the_maximum(retries: int, jitter: float) -> None:
    full = min(20.0, 0.5 * 2**retries)
    waited = wait(failure(), retries, jitter=jitter)
    assert waited is not None
    assert full / 2 <= waited <= full


def test_the_number_of_retries_is_limited_and_lower_for_errors_that_may_be_permanent() -> None:
    assert wait(failure(), retries=7) is not None
    assert wait(failure(), retries=8) is None
    assert wait(failure(ErrorClass.INVALID_DATA), retries=2) is not None
    assert wait(failure(ErrorClass.INVALID_DATA), retries=3) is None


@given(st.floats(0, 1000), st.integers(0, 7), JITTER)
def test_retry_after_is_a_minimum_and_the_wait_is_little_longer(after: float, retries: int, jitter: float) -> None:
    waited = wait(failure(ErrorClass.RATE_LIMITED, retry_after=after), retries, jitter=jitter)
    assert waited is not None
    assert after <= waited <= max(after + 1.0, 20.0)


@given(st.floats(0, 100), st.integers(0, 7), JITTER, st.floats(-5, 100))
def test_every_wait_ends_before_the_deadline(after: float, retries: int, jitter: float, remaining: float) -> None:
    waited = wait(failure(retry_after=after), retries, remaining, jitter)
    assert waited is None or waited < remaining


def test_a_ban_beyond_the_deadline_is_not_retried() -> None:
    assert wait(failure(ErrorClass.BANNED, retry_after=3600.0), remaining=119.0) is None
