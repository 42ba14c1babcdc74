"""Callers that use the API while it is attacked. Their requests start at fixed times, even if earlier ones wait."""

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx

_TIMEOUT_SECONDS = 60.0


@dataclass
class Samples:
    """The seconds until each answer, and the answers that were not expected."""

    seconds: list[float] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)

    def percentile(self, share: float) -> float:
        """The smallest time that this share of the requests does not exceed."""
        return sorted(self.seconds)[max(0, math.ceil(share * len(self.seconds)) - 1)] if self.seconds else math.inf


@dataclass
class OtherCallers:
    """`api` has a viewer's token that no attacker has, `admin` the bootstrap token. Both begin below the API's path."""

    api: httpx.AsyncClient
    admin: httpx.AsyncClient
    live_url: str
    me: Samples = field(default_factory=Samples)
    live: Samples = field(default_factory=Samples)
    streams: Samples = field(default_factory=Samples)
    new_tokens: Samples = field(default_factory=Samples)
    tokens: list[str] = field(default_factory=list)

    async def work(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as callers:
            for sample, every in ((self._me, 0.2), (self._live, 0.2), (self._stream, 5.0), (self._new_token, 2.0)):
                callers.create_task(self._repeat(sample, every))

    async def _repeat(self, sample: Callable[[], Awaitable[None]], every: float) -> None:
        """Start a sample at fixed times, also while earlier ones wait: otherwise a stall would be one slow sample."""
        async with asyncio.TaskGroup() as running:
            next_at = time.monotonic()
            while True:
                running.create_task(_as_coroutine(sample))
                next_at += every
                await asyncio.sleep(max(0.0, next_at - time.monotonic()))

    async def _me(self) -> None:
        await _measure(self.me, lambda: self.api.get("/me", timeout=_TIMEOUT_SECONDS))

    async def _live(self) -> None:
        await _measure(self.live, lambda: self.api.get(self.live_url, timeout=_TIMEOUT_SECONDS))

    async def _stream(self) -> None:
        await _measure(self.streams, lambda: self.api.get("/events?seconds=1", timeout=_TIMEOUT_SECONDS))

    async def _new_token(self) -> None:
        """The first request with a token that the instance has never seen."""
        body = {"name": f"new-{len(self.tokens)}", "role": "viewer"}
        with contextlib.suppress(httpx.HTTPError):
            created = await self.admin.post("/tokens", json=body, timeout=_TIMEOUT_SECONDS)
            if not created.is_success:
                self.new_tokens.wrong[f"not created: {created.status_code}"] += 1
                return
            self.tokens.append(created.json()["token"])
            headers = {"Authorization": f"Bearer {self.tokens[-1]}"}
            await _measure(self.new_tokens, lambda: self.api.get("/me", headers=headers, timeout=_TIMEOUT_SECONDS))


async def _as_coroutine(sample: Callable[[], Awaitable[None]]) -> None:
    await sample()


async def _measure(samples: Samples, request: Callable[[], Awaitable[httpx.Response]]) -> None:
    began = time.monotonic()
    try:
        response = await request()
    except httpx.HTTPError as error:
        samples.wrong[type(error).__name__] += 1
    else:
        if response.status_code != 200:
            samples.wrong[str(response.status_code)] += 1
    finally:  # also if the test ends while the request waits
        samples.seconds.append(time.monotonic() - began)
