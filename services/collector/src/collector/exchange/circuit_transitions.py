"""The state of an exchange's circuit, shared by all runs: one state machine per exchange. Pure, time is an argument.

Times are seconds of the caller's monotonic clock.
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
    """When to send probes if the exchange gives no retry time. The wait doubles after each failed probe. Seconds."""

    initial_wait: float = 2.0
    max_wait: float = 60.0
    failure_limit: int = 5
    """The number of consecutive requests without a response that makes an exchange unreachable."""


@dataclass(frozen=True)
class CircuitState:
    """The known state of one exchange. The circuit is closed if the state is `ok`, otherwise open."""

    state: ExchangeState = ExchangeState.OK
    until: float = 0.0
    """No request is sent before this time."""
    failures: int = 0
    """While the circuit is closed: the number of consecutive requests without a response. While it is open: the number
    of failed probes.
    """
    last_failure: ExchangeFailure | None = None


CLOSED: Final = CircuitState()

_NO_RESPONSE: Final = frozenset(
    {ErrorClass.UNAVAILABLE, ErrorClass.TIMEOUT, ErrorClass.NETWORK, ErrorClass.BLOCKED_LOCATION}
)
"""Error classes that open the circuit only after several consecutive failures. A blocked location may apply to one kind
of market only, so a single failure does not suspend the other requests.
"""

_STATES: Final = {
    ErrorClass.RATE_LIMITED: ExchangeState.THROTTLED,
    ErrorClass.BANNED: ExchangeState.BANNED,
    ErrorClass.MAINTENANCE: ExchangeState.MAINTENANCE,
}


def circuit_from_event(event: ExchangeHealthChanged, now: datetime, monotonic: float, max_wait: float) -> CircuitState:
    """The circuit state that `event` contains; `CLOSED` if it has ended by `now`. The inverse of `health_event`.

    `monotonic` is the time `now` on the clock of `CircuitState.until`. `max_wait`: the longest wait in seconds; an end
    that is later is invalid and is shortened.
    """
    if event.state is ExchangeState.OK or event.until is None or event.until <= now:
        return CLOSED
    wait = min(max_wait, (event.until - now) / timedelta(seconds=1))
    failure = ExchangeFailure(
        event.error_class or ErrorClass.UNAVAILABLE,
        event.reason or f"{event.exchange} was {event.state}",
        retryable=True,
        # An unreachable exchange gave no end time, so any response closes the circuit.
        retry_after=None if event.state is ExchangeState.UNREACHABLE else wait,
    )
    return CircuitState(event.state, monotonic + wait, 0, failure)


def after_response(circuit: CircuitState, admitted_under: CircuitState) -> CircuitState:
    """The state after a response. `admitted_under`: the state when the request was admitted.

    A response to a request from before a ban does not end the ban. But any response ends the state `unreachable` if the
    exchange gave no end time.
    """
    is_estimate = (
        circuit.state is ExchangeState.UNREACHABLE
        and circuit.last_failure is not None
        and circuit.last_failure.retry_after is None
    )
    if circuit.state is ExchangeState.OK or is_estimate or admitted_under is circuit:
        return CLOSED
    return circuit


def after_failure(
    circuit: CircuitState, failure: ExchangeFailure, *, admitted_under: CircuitState, now: float, policy: ProbePolicy
) -> CircuitState:
    """The state after a failed request. Some failures are normal responses, such as an unknown symbol; these do not
    open the circuit.
    """
    was_closed = circuit.state is ExchangeState.OK
    was_probe = admitted_under is circuit and not was_closed
    state = _state_after(circuit, failure, was_closed=was_closed, was_probe=was_probe, policy=policy)
    if state is None:
        return after_response(circuit, admitted_under)
    if state is ExchangeState.OK:
        return replace(circuit, failures=circuit.failures + 1, last_failure=failure)
    gives_no_end = failure.error_class not in _STATES and failure.retry_after is None
    if state is circuit.state and not was_probe and gives_no_end:
        return circuit
    failures = 0 if was_closed else circuit.failures + was_probe
    opened = CircuitState(state, now + _wait(state, failure, failures, policy), failures, failure)
    # Many requests were in flight when the first was refused. Their failures may lengthen the wait, but not shorten it.
    return opened if was_closed or was_probe or opened.until > circuit.until else circuit


def _state_after(
    circuit: CircuitState, failure: ExchangeFailure, *, was_closed: bool, was_probe: bool, policy: ProbePolicy
) -> ExchangeState | None:
    """The state of the exchange that the failure shows. None if the failure is a normal response."""
    if (state := _STATES.get(failure.error_class)) is not None:
        return state
    if failure.error_class in _NO_RESPONSE:
        limit = policy.failure_limit if failure.retry_after is None else 1
        opens = was_probe or (was_closed and circuit.failures + 1 >= limit)
        return ExchangeState.UNREACHABLE if opens else circuit.state
    if failure.error_class is ErrorClass.BAD_RESPONSE and was_probe:
        return circuit.state  # an unreadable response, such as an HTML page, does not prove that the outage is over
    return None if failure.retry_after is None else ExchangeState.THROTTLED


def _wait(state: ExchangeState, failure: ExchangeFailure, failures: int, policy: ProbePolicy) -> float:
    backoff = exponential_delay(policy.initial_wait, policy.max_wait, failures)
    if failure.retry_after is not None:
        # If the probe is also refused, the retry time was too short: some exchanges send 0, or a time in the past.
        return max(failure.retry_after, backoff) if failures else failure.retry_after
    if state is ExchangeState.BANNED or failure.error_class is ErrorClass.BLOCKED_LOCATION:
        return policy.max_wait  # each request during a ban may extend it, and a blocked location stays blocked
    return backoff
