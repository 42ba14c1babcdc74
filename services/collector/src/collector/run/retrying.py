"""Asking an exchange again, for as long as a run has time."""

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

_TO_SAY_WHY_SECONDS: Final = 0.2
"""Kept back from a run's time, so that a run which only waited ends under the exchange's reason, not its deadline's."""


@dataclass
class Retrier:
    """What one timeframe of a run can still put up with."""

    exchange: str
    policy: RetryPolicy
    deadline: float
    """On the event loop's clock."""
    metrics: CollectorMetrics
    last_failure: ExchangeFailure | None = None

    async def retry_until_deadline(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` returns, after as many repetitions as the policy allows. Raises its last `ExchangeFailure`."""
        retries = 0
        while True:
            try:
                return await ask()
            except RequestDeferred as deferral:
                self.last_failure = deferral
                await self._sit_out(deferral)
                continue
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
            log.debug(
                "An exchange is asked again",
                action="exchange_retry",
                error_class=self.last_failure.error_class,
                error=self.last_failure.message,
                retries=retries,
                wait_seconds=round(wait, 3),
            )
            await asyncio.sleep(wait)

    async def _sit_out(self, deferral: RequestDeferred) -> None:
        """Wait until the exchange may be tried; costs no retry. Raises the deferral when that is not before the end.

        Where the exchange did not say when, long waits are not begun: runs that all wait for an outage to end would be
        a backlog when it does, and the next run collects what this one leaves.
        """
        loop = asyncio.get_running_loop()
        last_call = self.deadline - _TO_SAY_WHY_SECONDS
        remaining, wait = last_call - loop.time(), deferral.retry_after
        longest = remaining if deferral.told else min(remaining, self.policy.longest_wait)
        if remaining <= 0 or (wait is not None and wait >= longest):
            raise deferral
        changed = await wait_for_event(deferral.changed, remaining if wait is None else wait)
        if not changed and loop.time() >= last_call:
            raise deferral


def _given_up(failure: ExchangeFailure, retries: int) -> ExchangeFailure:
    if retries == 0:
        return failure
    return ExchangeFailure(
        failure.error_class,
        f"{failure.message} (asked {retries + 1} times)",
        retryable=failure.retryable,
        retry_after=failure.retry_after,
    )
