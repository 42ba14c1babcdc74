"""The number of requests of one caller that are in progress at the same time."""

import asyncio
from typing import Any

import pytest

from admin_api.middleware.concurrent_requests import PLACES, ConcurrentRequestsMiddleware
from support.polling import eventually

COUNT = 3 * PLACES


class App:
    def __init__(self) -> None:
        self.in_progress = 0
        self.may_end = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.in_progress += 1
        await self.may_end.wait()
        self.in_progress -= 1


@pytest.mark.parametrize(
    ("path", "in_progress"),
    [("/metrics", PLACES), ("/docs", PLACES), ("/openapi.json", PLACES), ("/api/x", PLACES), ("/health/live", COUNT)],
)
async def test_requests_without_a_credential_share_the_places_of_their_address_and_probes_never_wait(
    path: str, in_progress: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admin_api.middleware.concurrent_requests.HOLD_SECONDS", 60)
    app = App()
    middleware = ConcurrentRequestsMiddleware(app)
    scope = {"type": "http", "path": path, "method": "GET", "headers": [], "client": ("192.0.2.1", 5000)}
    requests = [asyncio.create_task(middleware(dict(scope), _never, _never)) for _ in range(COUNT)]
    await eventually(lambda: app.in_progress == in_progress)
    other = asyncio.create_task(middleware(scope | {"client": ("192.0.2.2", 5000)}, _never, _never))
    await eventually(lambda: app.in_progress == in_progress + 1)
    app.may_end.set()
    await asyncio.gather(*requests, other)


async def _never(*_: Any) -> Any:
    raise AssertionError("the request is not answered here")
