"""Asking an exchange again, for as long as a run has time."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from collector.failures import ExchangeFailure
from collector.metrics import CollectorMetrics
from collector.retry import RetryPolicy, wait_before_retry
from runtime.logs import log

T = TypeVar("T")


@dataclass
class Patience:
    """What one timeframe of a run can still put up with."""

    exchange: str
    policy: RetryPolicy
    deadline: float
    """On the event loop's clock."""
    metrics: CollectorMetrics
    last_failure: ExchangeFailure | None = None

    async def insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` returns, after as many repetitions as the policy allows. Raises its last `ExchangeFailure`."""
        retries = 0
        while True:
            try:
                return await ask()
            except ExchangeFailure as failure:
                self.last_failure = failure
                wait = wait_before_retry(
                    self.policy,
                    failure,
                    retries=retries,
                    remaining=self.deadline - asyncio.get_running_loop().time(),
                    dice=random.random(),  # noqa: S311 -- jitter
                )
                if wait is None:
                    raise _given_up(failure, retries) from failure
            retries += 1
            self.metrics.retries.labels(self.exchange, self.last_failure.error_class).inc()
            log.info(
                "An exchange is asked again",
                action="exchange_retry",
                error_class=self.last_failure.error_class,
                error=self.last_failure.message,
                retries=retries,
                wait_seconds=round(wait, 3),
            )
            await asyncio.sleep(wait)


def _given_up(failure: ExchangeFailure, retries: int) -> ExchangeFailure:
    if retries == 0:
        return failure
    return ExchangeFailure(
        failure.error_class,
        f"{failure.message} (asked {retries + 1} times)",
        retryable=failure.retryable,
        retry_after=failure.retry_after,
    )
