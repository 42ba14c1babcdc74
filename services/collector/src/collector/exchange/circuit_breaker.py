"""The gate in front of one exchange: all requests pass while it is well; while it is not, one probe at a time."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Final

from collector.exchange.circuit_state import CLOSED, CircuitState, ProbePolicy, after_answer, after_failure
from collector.exchange.failures import ExchangeFailure, RequestDeferred
from collector.metrics import CollectorMetrics
from contracts.vocabulary import ErrorClass, ExchangeState
from runtime.logs import log

_PROBING: ContextVar[bool] = ContextVar("probing", default=False)
"""Whether the request that is being made is the probe: it passes where others are turned back."""

_CLASSES: Final = {
    ExchangeState.THROTTLED: (ErrorClass.RATE_LIMITED, "asked to be left alone until"),
    ExchangeState.BANNED: (ErrorClass.BANNED, "has banned this address until"),
    ExchangeState.MAINTENANCE: (ErrorClass.MAINTENANCE, "is under maintenance and looked at again at"),
    ExchangeState.UNREACHABLE: (ErrorClass.UNAVAILABLE, "does not answer and is looked at again at"),
}


class CircuitBreaker:
    """Keeps an exchange's health, tells of its changes once each, and lets requests through accordingly."""

    def __init__(
        self,
        exchange: str,
        policy: ProbePolicy,
        metrics: CollectorMetrics,
        monotonic: Callable[[], float],
        report: Callable[[str, CircuitState], None],
    ) -> None:
        """`tell` is called with the exchange and how it fares: at its first answer, and at every change."""
        self._exchange, self._policy, self._metrics, self._monotonic = exchange, policy, metrics, monotonic
        self._report, self._told = report, False
        self._health = CLOSED
        self._probed = False
        self._changed = asyncio.Event()
        self._show()

    @property
    def state(self) -> ExchangeState:
        return self._health.state

    @contextmanager
    def passing(self) -> Iterator[CircuitState]:
        """Around a request, its wait for the throttle included. Raises `Deferred` where none may be made now."""
        health = self._health
        if health.state is ExchangeState.OK:
            yield health
            return
        if self._probed or health.until > self._monotonic():
            raise self._deferred()
        self._probed = True
        token = _PROBING.set(True)
        try:
            yield health
        finally:
            _PROBING.reset(token)
            self._probed = False
            self._wake()  # whatever came of it: the next may probe, all may go, or some need not wait any longer

    def check(self) -> None:
        """Just before a request leaves: much may have happened while it waited for the throttle. Raises `Deferred`."""
        if self._health.state is ExchangeState.OK:
            return
        if not _PROBING.get() or self._health.until > self._monotonic():
            raise self._deferred()

    def answered(self, asked_under: CircuitState) -> None:
        if self._health is not CLOSED:
            self._become(after_answer(self._health, asked_under))
        if not self._told:  # whoever had this exchange before us may have said otherwise
            self._told = True
            self._report(self._exchange, self._health)

    def adopt(self, health: CircuitState) -> None:
        """Take over the health that another owner of this exchange has published. It is not published again."""
        if health.state is self._health.state is ExchangeState.OK:
            return
        self._health = health
        self._show()
        self._wake()
        log.info(
            "The state of an exchange was taken over from an earlier collector",
            action="exchange_state_taken_over",
            exchange=self._exchange,
            state=health.state,
            wait_seconds=round(max(0.0, health.until - self._monotonic()), 1),
        )

    def failed(self, failure: ExchangeFailure, asked_under: CircuitState) -> None:
        now = self._monotonic()
        self._become(after_failure(self._health, failure, asked_under=asked_under, now=now, policy=self._policy))

    def _become(self, health: CircuitState) -> None:
        before, self._health = self._health, health
        well = health.state is ExchangeState.OK
        if health.state is not before.state or (not well and health.until != before.until):
            self._told = True
            self._report(self._exchange, health)
        if health.state is before.state:
            return
        self._show()
        self._wake()
        self._metrics.exchange_state_changes.labels(self._exchange, health.state).inc()
        if well:
            log.info("An exchange is well again", action="exchange_state", exchange=self._exchange, state=health.state)
            return
        log.warning(
            "An exchange is not well: its runs wait, or end without a request",
            action="exchange_state",
            exchange=self._exchange,
            state=health.state,
            before=before.state,
            wait_seconds=round(health.until - self._monotonic(), 1),
            error=health.why.message if health.why else None,
        )

    def _show(self) -> None:
        for state in ExchangeState:
            self._metrics.exchange_state.labels(self._exchange, state).set(state is self._health.state)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _deferred(self) -> RequestDeferred:
        health = self._health
        error_class, words = _CLASSES[health.state]
        wait = max(0.0, health.until - self._monotonic())
        said = f" It said: {health.why.message}" if health.why else ""
        message = (
            f"{self._exchange} {words} {datetime.now(UTC) + timedelta(seconds=wait):%Y-%m-%d %H:%M:%S} UTC; "
            f"the next run collects what this one did not.{said}"
        )
        told = health.why is not None and health.why.retry_after is not None
        wait_or_probe = None if self._probed else wait
        return RequestDeferred(error_class, message, wait=wait_or_probe, told=told, changed=self._changed)
