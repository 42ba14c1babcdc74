"""Whether to send a request to an exchange again, and when. Pure: the caller supplies the random number."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from collector.exchange.failures import ExchangeFailure
from contracts.vocabulary import ErrorClass
from runtime.waiting import exponential_delay

_FEWER_RETRIES: Final = {
    ErrorClass.BAD_RESPONSE: 3,
    ErrorClass.INVALID_DATA: 3,
    ErrorClass.EXCHANGE_ERROR: 3,
}


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Exponential back-off with jitter: the n-th wait is between half and all of `initial_wait * 2**n` seconds."""

    initial_wait: float = 0.5
    max_wait: float = 20.0
    max_retries: int = 8
    max_retries_by_class: Mapping[ErrorClass, int] = field(default_factory=lambda: _FEWER_RETRIES)
    """Fewer retries for errors that may be permanent. ccxt's classes do not distinguish these."""


def wait_before_retry(
    policy: RetryPolicy, failure: ExchangeFailure, *, retries: int, remaining: float, jitter: float
) -> float | None:
    """Seconds to wait before the next retry. None if there must be no retry.

    `retries`: the number of retries so far. `remaining`: seconds until the run's deadline; a wait that would end after
    the deadline is not started. `jitter`: a random number in [0, 1). The exchange's Retry-After is a minimum.
    """
    if not failure.retryable:
        return None
    if retries >= policy.max_retries_by_class.get(failure.error_class, policy.max_retries):
        return None
    backoff = exponential_delay(policy.initial_wait, policy.max_wait, retries) * (0.5 + jitter / 2)
    if failure.retry_after is not None:
        # Up to one second is added, because all runs with the same Retry-After would otherwise retry at once.
        backoff = max(backoff, failure.retry_after + min(1.0, backoff) * jitter)
    return backoff if backoff < remaining else None
