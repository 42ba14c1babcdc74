"""Retries of requests to an exchange, until the deadline of the run."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from collector.exchange.failures import ExchangeFailure, RequestDeferred
from collector.metrics import CollectorMetrics
from collector.run.retry_policy import RetryPolicy, wait_before_retry
from runtime.logs import log
from runtime.waiting import wait_for_event

T = TypeVar("T")

_REPORT_SECONDS: Final = 0.2
"""A wait ends this long before the deadline, so that the run ends with the exchange's error class, not `deadline`."""


@dataclass
class Retrier:
    """Retries for one timeframe of a run."""

    exchange: str
    policy: RetryPolicy
    deadline: float
    """On the event loop's clock."""
    metrics: CollectorMetrics
    waits_for_exchange: bool = True
    """Whether the run waits while the exchange's circuit is open. Otherwise it ends at once."""
    last_failure: ExchangeFailure | None = None

    async def retry_until_deadline(self, operation: Callable[[], Awaitable[T]]) -> T:
        """The result of `operation`, which is repeated as the policy allows. Raises its last `ExchangeFailure`."""
        retries = 0
        while True:
            try:
                return await operation()
            except RequestDeferred as deferral:
                self.last_failure = deferral
                await self._wait_for_exchange(deferral)
                continue
            except ExchangeFailure as failure:
                self.last_failure = failure
                wait = wait_before_retry(
                    self.policy,
                    failure,
                    retries=retries,
                    remaining=self.deadline - asyncio.get_running_loop().time(),
                    jitter=random.random(),  # noqa: S311 -- the number is not a secret
                )
                if wait is None:
                    raise _with_attempts(failure, retries) from failure
            retries += 1
            self.metrics.retries.labels(self.exchange, self.last_failure.error_class).inc()
            log.debug(
                "Request to an exchange failed and will be retried",
                action="exchange_retry",
                error_class=self.last_failure.error_class,
                error=self.last_failure.message,
                retries=retries,
                wait_seconds=round(wait, 3),
            )
            await asyncio.sleep(wait)

    async def _wait_for_exchange(self, deferral: RequestDeferred) -> None:
        """Wait until a request may be sent; this does not count as a retry. Raises the deferral if the run cannot wait.

        If the exchange gave no end time, the wait is limited to `policy.max_wait`. Otherwise many runs would wait for
        the end of an outage and form a backlog. The next run reads the same time instead.
        """
        loop = asyncio.get_running_loop()
        wait_end = self.deadline - _REPORT_SECONDS
        remaining, wait = wait_end - loop.time(), deferral.retry_after
        limit = remaining if deferral.until_is_known else min(remaining, self.policy.max_wait)
        if not self.waits_for_exchange or remaining <= 0 or (wait is not None and wait >= limit):
            raise deferral
        changed = await wait_for_event(deferral.circuit_changed, remaining if wait is None else wait)
        if not changed and loop.time() >= wait_end:
            raise deferral


def _with_attempts(failure: ExchangeFailure, retries: int) -> ExchangeFailure:
    """The failure with the number of attempts in its message."""
    if retries == 0:
        return failure
    return ExchangeFailure(
        failure.error_class,
        f"{failure.message} (after {retries + 1} attempts)",
        retryable=failure.retryable,
        retry_after=failure.retry_after,
    )
