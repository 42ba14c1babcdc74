"""Waiting: growing delays between retries, and waiting for an event no longer than a number of seconds."""

import asyncio
import random


def exponential_delay(initial: float, maximum: float, retries: int) -> float:
    """Seconds before the next try: `initial`, doubled for each retry so far, at most `maximum`."""
    return min(maximum, initial * 2.0 ** min(retries, 60))


class Backoff:
    """The delays of one series of retries, in seconds. With `jitter`, each delay is shortened by up to a half, so that
    many clients that failed at the same time do not retry at the same time.
    """

    def __init__(self, initial: float, maximum: float, *, jitter: bool = False) -> None:
        self._initial, self._maximum, self._jitter = initial, maximum, jitter
        self._retries = 0

    def reset(self) -> None:
        """Start again with the initial delay."""
        self._retries = 0

    def next_delay(self) -> float:
        """The delay before the next try. Each call returns a longer delay."""
        delay = exponential_delay(self._initial, self._maximum, self._retries)
        self._retries += 1
        return delay * random.uniform(0.5, 1.0) if self._jitter else delay  # noqa: S311 -- jitter, not a secret

    async def sleep(self) -> None:
        """Sleep for the next delay."""
        await asyncio.sleep(self.next_delay())

    async def sleep_unless(self, event: asyncio.Event) -> bool:
        """Sleep for the next delay, or until the event is set. Returns whether it is set."""
        return await wait_for_event(event, self.next_delay())


async def wait_for_event(event: asyncio.Event, seconds: float) -> bool:
    """Wait until the event is set, at most `seconds`. Returns whether it is set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
