"""How an exchange fares, seen from all runs that ask it: one state machine per exchange. Pure, time is an argument.

Seconds are those of the caller's monotonic clock.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from collector.exchange.failures import ExchangeFailure
from contracts.exchanges import ExchangeHealthChanged
from contracts.vocabulary import ErrorClass, ExchangeState
from runtime.waiting import exponential_delay


@dataclass(frozen=True, kw_only=True)
class ProbePolicy:
    """When to look again where the exchange does not say: `first`, then twice as long each time, up to `longest`."""

    first: float = 2.0
    longest: float = 60.0
    strikes: int = 5
    """So many requests in a row that no answer came to make an exchange unreachable."""


@dataclass(frozen=True)
class CircuitState:
    """What is known of one exchange."""

    state: ExchangeState = ExchangeState.OK
    until: float = 0.0
    """No request before this instant."""
    failures: int = 0
    """While ok: requests in a row that came to nothing. Otherwise: failed probes."""
    why: ExchangeFailure | None = None
    """What it said last."""


CLOSED: Final = CircuitState()

_NO_ANSWER: Final = frozenset({ErrorClass.UNAVAILABLE, ErrorClass.TIMEOUT, ErrorClass.NETWORK})
_STATES: Final = {
    ErrorClass.RATE_LIMITED: ExchangeState.THROTTLED,
    ErrorClass.BANNED: ExchangeState.BANNED,
    ErrorClass.MAINTENANCE: ExchangeState.MAINTENANCE,
}


def health_of(event: ExchangeHealthChanged, now: datetime, monotonic: float, longest: float) -> CircuitState:
    """The health that `event` tells of; `FINE` if it has ended by `now`. The inverse of `health_event`.

    `monotonic` is the instant `now` on the clock of `Health.until`. `longest`: seconds, as a limit for dates that
    cannot be true.
    """
    if event.state is ExchangeState.OK or event.until is None or event.until <= now:
        return CLOSED
    wait = min(longest, (event.until - now) / timedelta(seconds=1))
    why = ExchangeFailure(
        event.error_class or ErrorClass.UNAVAILABLE,
        event.reason or f"{event.exchange} was {event.state}",
        retryable=True,
        # An unreachable exchange named no end: any answer shows that it is well again.
        retry_after=None if event.state is ExchangeState.UNREACHABLE else wait,
    )
    return CircuitState(event.state, monotonic + wait, 0, why)


def after_answer(health: CircuitState, asked_under: CircuitState) -> CircuitState:
    """A request was answered. `asked_under`: the health when it was let through.

    An answer to what was asked before a ban says nothing about the ban. One that comes from an exchange which we took
    for unreachable does.
    """
    guessed = health.state is ExchangeState.UNREACHABLE and health.why is not None and health.why.retry_after is None
    if health.state is ExchangeState.OK or guessed or asked_under is health:
        return CLOSED
    return health


def after_failure(
    health: CircuitState, failure: ExchangeFailure, *, asked_under: CircuitState, now: float, policy: ProbePolicy
) -> CircuitState:
    """A request failed. Failures that are an answer of a kind (an unknown symbol) do not count against the exchange."""
    well, probed = health.state is ExchangeState.OK, asked_under is health and health.state is not ExchangeState.OK
    state = _state_after(health, failure, well=well, probed=probed, policy=policy)
    if state is None:
        return after_answer(health, asked_under)
    if state is ExchangeState.OK:
        return replace(health, failures=health.failures + 1, why=failure)
    unasked_for = failure.error_class not in _STATES and failure.retry_after is None
    if state is health.state and not probed and unasked_for:
        return health
    failures = 0 if well else health.failures + probed
    worse = CircuitState(state, now + _wait(state, failure, failures, policy), failures, failure)
    # Many were under way when the first was refused: what they heard may lengthen the wait, and never shortens it.
    return worse if well or probed or worse.until > health.until else health


def _state_after(
    health: CircuitState, failure: ExchangeFailure, *, well: bool, probed: bool, policy: ProbePolicy
) -> ExchangeState | None:
    """The state that the failure speaks for; None: for none, it was an answer."""
    if (named := _STATES.get(failure.error_class)) is not None:
        return named
    if failure.error_class in _NO_ANSWER:
        strikes = policy.strikes if failure.retry_after is None else 1
        return ExchangeState.UNREACHABLE if probed or (well and health.failures + 1 >= strikes) else health.state
    if failure.error_class is ErrorClass.BAD_RESPONSE and probed:
        return health.state  # a page of HTML does not say that all is well again
    return None if failure.retry_after is None else ExchangeState.THROTTLED


def _wait(state: ExchangeState, failure: ExchangeFailure, failures: int, policy: ProbePolicy) -> float:
    if failure.retry_after is not None:
        return failure.retry_after
    if state is ExchangeState.BANNED:
        return policy.longest  # a ban that names no end grows with every request that is made meanwhile
    return exponential_delay(policy.first, policy.longest, failures)
