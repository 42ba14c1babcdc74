"""The circuit breaker of one exchange. While it is closed, all requests are admitted; while it is open, one probe at a
time.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Final

from collector.exchange.circuit_transitions import CLOSED, CircuitState, ProbePolicy, after_failure, after_response
from collector.exchange.failures import ExchangeFailure, RequestDeferred
from collector.metrics import CollectorMetrics
from contracts.vocabulary import ErrorClass, ExchangeState
from runtime.logs import log

_IS_PROBE: ContextVar[bool] = ContextVar("is_probe", default=False)
"""Whether the current request is the probe. The probe is admitted while other requests are deferred."""

_REASONS: Final = {
    ExchangeState.THROTTLED: (ErrorClass.RATE_LIMITED, "limits our requests and accepts none until"),
    ExchangeState.BANNED: (ErrorClass.BANNED, "has banned this IP address until"),
    ExchangeState.MAINTENANCE: (ErrorClass.MAINTENANCE, "is under maintenance; the next probe is at"),
    ExchangeState.UNREACHABLE: (ErrorClass.UNAVAILABLE, "does not respond; the next probe is at"),
}


class CircuitBreaker:
    """Holds the circuit state of an exchange, reports each change once, and admits or defers requests."""

    def __init__(
        self,
        exchange: str,
        policy: ProbePolicy,
        metrics: CollectorMetrics,
        monotonic: Callable[[], float],
        report: Callable[[str, CircuitState], None],
    ) -> None:
        """`report` is called with the exchange and its state: after its first response, and at every change."""
        self._exchange, self._policy, self._metrics, self._monotonic = exchange, policy, metrics, monotonic
        self._report, self._reported = report, False
        self._circuit = CLOSED
        self._probe_in_flight = False
        self._changed = asyncio.Event()
        self._update_gauge()

    @property
    def state(self) -> ExchangeState:
        return self._circuit.state

    @contextmanager
    def admit_request(self) -> Iterator[CircuitState]:
        """A context for a request and its wait for the rate limit. Raises `RequestDeferred` if no request may be
        sent.
        """
        circuit = self._circuit
        if circuit.state is ExchangeState.OK:
            yield circuit
            return
        if self._probe_in_flight or circuit.until > self._monotonic():
            raise self._deferral()
        self._probe_in_flight = True
        token = _IS_PROBE.set(True)
        try:
            yield circuit
        finally:
            _IS_PROBE.reset(token)
            self._probe_in_flight = False
            # Do this after a success and after a failure. Each waiting run then continues, sends the next probe, or
            # stops waiting.
            self._wake_waiting_runs()

    def check(self) -> None:
        """Call it just before a request is sent, because the circuit may have opened while the request waited for the
        rate limit. Raises `RequestDeferred`.
        """
        if self._circuit.state is ExchangeState.OK:
            return
        if not _IS_PROBE.get() or self._circuit.until > self._monotonic():
            raise self._deferral()

    def record_response(self, admitted_under: CircuitState) -> None:
        if self._circuit is not CLOSED:
            self._change_to(after_response(self._circuit, admitted_under))
        if not self._reported:  # a previous owner of this exchange may have published another state
            self._reported = True
            self._report(self._exchange, self._circuit)

    def record_failure(self, failure: ExchangeFailure, admitted_under: CircuitState) -> None:
        now = self._monotonic()
        self._change_to(
            after_failure(self._circuit, failure, admitted_under=admitted_under, now=now, policy=self._policy)
        )

    def adopt(self, circuit: CircuitState) -> None:
        """Adopt the state that another owner of this exchange has published. It is not published again."""
        if circuit.state is self._circuit.state is ExchangeState.OK:
            return
        self._circuit = circuit
        self._update_gauge()
        self._wake_waiting_runs()
        log.info(
            f"Adopted the circuit state of {self._exchange} from another collector: {circuit.state}",
            action="exchange_state_taken_over",
            exchange=self._exchange,
            state=circuit.state,
            wait_seconds=round(self._wait_seconds(), 1),
        )

    def _change_to(self, circuit: CircuitState) -> None:
        before, self._circuit = self._circuit, circuit
        is_closed = circuit.state is ExchangeState.OK
        if circuit.state is not before.state or (not is_closed and circuit.until != before.until):
            self._reported = True
            self._report(self._exchange, circuit)
        if circuit.state is before.state:
            return
        self._update_gauge()
        self._wake_waiting_runs()
        self._metrics.exchange_state_changes.labels(self._exchange, circuit.state).inc()
        self._log_change(before)

    def _log_change(self, before: CircuitState) -> None:
        exchange, circuit = self._exchange, self._circuit
        if circuit.state is ExchangeState.OK:
            log.info(
                f"Circuit closed for {exchange}: requests continue",
                action="exchange_state",
                exchange=exchange,
                state=circuit.state,
            )
            return
        failure = circuit.last_failure
        retry_after = failure.retry_after if failure else None
        given = "no Retry-After" if retry_after is None else f"Retry-After {retry_after:.0f} s"
        change = "opened" if before.state is ExchangeState.OK else f"changed from {before.state}"
        log.warning(
            f"Circuit {change} for {exchange}: requests are suspended until {self._until():%H:%M:%S} UTC "
            f"({circuit.state}, {given})",
            action="exchange_state",
            exchange=exchange,
            state=circuit.state,
            before=before.state,
            wait_seconds=round(self._wait_seconds(), 1),
            error=failure.message if failure else None,
        )

    def _update_gauge(self) -> None:
        for state in ExchangeState:
            self._metrics.exchange_state.labels(self._exchange, state).set(state is self._circuit.state)

    def _wake_waiting_runs(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _wait_seconds(self) -> float:
        return max(0.0, self._circuit.until - self._monotonic())

    def _until(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._wait_seconds())

    def _deferral(self) -> RequestDeferred:
        error_class, reason = _REASONS[self._circuit.state]
        failure = self._circuit.last_failure
        if failure is not None and failure.error_class is ErrorClass.BLOCKED_LOCATION:
            error_class, reason = failure.error_class, "does not serve the location of this collector; next probe at"
        last_error = f" Last error: {failure.message}" if failure else ""
        return RequestDeferred(
            error_class,
            f"{self._exchange} {reason} {self._until():%Y-%m-%d %H:%M:%S} UTC; "
            f"the next run collects what this one did not.{last_error}",
            wait=None if self._probe_in_flight else self._wait_seconds(),
            until_is_known=failure is not None and failure.retry_after is not None,
            circuit_changed=self._changed,
        )
