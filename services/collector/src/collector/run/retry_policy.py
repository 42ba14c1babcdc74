"""Whether to ask an exchange again, and when. Pure: the dice are thrown by the caller."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from collector.exchange.failures import ExchangeFailure
from contracts.vocabulary import ErrorClass
from runtime.waiting import exponential_delay

_DOUBTFUL: Final = {
    ErrorClass.BAD_RESPONSE: 3,
    ErrorClass.INVALID_DATA: 3,
    ErrorClass.EXCHANGE_ERROR: 3,
}


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Exponential back-off with jitter: the n-th wait is between half and all of `first_wait * 2**n`."""

    first_wait: float = 0.5
    longest_wait: float = 20.0
    max_retries: int = 8
    max_retries_by_class: Mapping[ErrorClass, int] = field(default_factory=lambda: _DOUBTFUL)
    """Fewer for errors that may as well be permanent: ccxt's classes do not tell."""


def wait_before_retry(
    policy: RetryPolicy, failure: ExchangeFailure, *, retries: int, remaining: float, dice: float
) -> float | None:
    """Seconds to wait before asking again, or None: give up.

    `retries`: how often it was asked again already. `remaining`: seconds to the run's deadline; a wait that would not
    leave time for an answer is not begun. `dice` in [0, 1). What the exchange asks for (Retry-After) is a minimum.
    """
    if not failure.retryable:
        return None
    if retries >= policy.max_retries_by_class.get(failure.error_class, policy.max_retries):
        return None
    backoff = exponential_delay(policy.first_wait, policy.longest_wait, retries) * (0.5 + dice / 2)
    if failure.retry_after is not None:
        # Spread by up to a second, or all who were told the same would come back in the same instant.
        backoff = max(backoff, failure.retry_after + min(1.0, backoff) * dice)
    return backoff if backoff < remaining else None
