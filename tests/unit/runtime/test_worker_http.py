"""A worker that has its own HTTP application and no broker."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from local_stack.ports import free_port
from runtime.lifecycle.health import Health
from runtime.process.http_server import http_server
from runtime.process.worker import Worker, serve
from runtime.settings import WorkerSettings
from support.polling import eventually


class App:
    """Answers `/` at once, and `/slow` when `finish` is set. Notes the order of events."""

    def __init__(self) -> None:
        self.finish = asyncio.Event()
        self.events: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            self.events.append("request")
            await self.finish.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"done"})
        self.events.append("response")

    async def end_streams(self) -> None:
        self.events.append("streams ended")

    @asynccontextmanager
    async def resources(self) -> AsyncIterator[None]:
        yield
        self.events.append("resources closed")


@asynccontextmanager
async def served(app: App, grace_seconds: float) -> AsyncIterator[tuple[str, asyncio.Event, asyncio.Task[int]]]:
    """The worker's URL, its stop event, and the task that returns its exit code."""
    settings = WorkerSettings(
        kafka_bootstrap_servers="nowhere:1", http_port=free_port(), shutdown_grace_seconds=grace_seconds
    )
    worker = Worker(
        name="test",
        settings=settings,
        registry=CollectorRegistry(),
        health=Health(),
        app=app,
        resources=app.resources,
        end_streams=app.end_streams,
    )
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(worker, stop))
    await eventually(lambda: worker.health.ready_problems() == {}, within=10)
    try:
        yield f"http://127.0.0.1:{settings.http_port}", stop, serving
    finally:
        stop.set()
        await asyncio.wait([serving], timeout=10)


async def test_it_needs_no_kafka_and_its_exit_code_is_0() -> None:
    async with served(App(), 5) as (url, stop, serving), httpx.AsyncClient(base_url=url, timeout=60) as client:
        assert (await client.get("/")).text == "done"
        stop.set()
        assert await asyncio.wait_for(serving, 5) == 0


async def test_a_request_in_flight_is_answered_before_resources_are_closed() -> None:
    app = App()
    async with served(app, 20) as (url, stop, serving), httpx.AsyncClient(base_url=url, timeout=60) as client:
        answer = asyncio.create_task(client.get("/slow"))
        await eventually(lambda: app.events == ["request"])
        stop.set()
        await eventually(lambda: app.events == ["request", "streams ended"])
        app.finish.set()
        assert (await answer).text == "done"
        assert await asyncio.wait_for(serving, 5) == 0
    assert app.events == ["request", "streams ended", "response", "resources closed"]


async def test_a_request_that_outlasts_the_grace_period_is_cancelled() -> None:
    app = App()
    async with served(app, 0.5) as (url, stop, serving), httpx.AsyncClient(base_url=url, timeout=60) as client:
        answer = asyncio.create_task(client.get("/slow"))
        await eventually(lambda: app.events == ["request"])
        stopped_at = time.monotonic()
        stop.set()
        assert await asyncio.wait_for(serving, 10) == 0
        assert time.monotonic() - stopped_at < 2.9
        await asyncio.wait([answer])
    assert "response" not in app.events


class LargeResponse:
    """Answers with more than the kernel buffers for a connection. Notes whether the connection was lost."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(300):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        self.lost.set()


def receive(client: socket.socket, count: int) -> None:
    while count > 0:
        received = len(client.recv(count))
        assert received, "the server has closed the connection"
        count -= received


@pytest.mark.parametrize("reads", [True, False])
async def test_a_connection_whose_client_takes_nothing_is_closed_and_a_slow_client_is_served(
    reads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.process.http_server._STALLED_SECONDS", 0.5)
    app = LargeResponse()
    async with http_server(app, "127.0.0.1", 0) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n")
            for _ in range(15 if reads else 0):  # three times as long as a client may take nothing
                await asyncio.to_thread(receive, client, 1_500_000)
                await asyncio.sleep(0.1)
            assert not app.lost.is_set()
            if not reads:
                async with asyncio.timeout(20):
                    await app.lost.wait()


_PROCESS = """
import os, signal, sys
from contextlib import asynccontextmanager
from runtime.lifecycle.health import Health
from runtime.metrics import new_registry
from runtime.process.worker import Worker, run
from runtime.settings import WorkerSettings

@asynccontextmanager
async def resources():
    print(sys.getswitchinterval())
    os.kill(os.getpid(), signal.SIGTERM)
    yield

run("tiny", WorkerSettings, lambda settings: Worker(
    name="tiny", settings=settings, registry=new_registry(), health=Health(), resources=resources
))
"""


def test_a_thread_that_computes_gives_the_interpreter_back_to_the_event_loop_after_a_millisecond() -> None:
    """In a process of its own, because it changes the whole interpreter."""
    environment = os.environ | {"KAFKA_BOOTSTRAP_SERVERS": "nowhere:1", "HTTP_PORT": str(free_port())}
    process = subprocess.run(
        [sys.executable, "-c", _PROCESS], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert float(process.stdout) == pytest.approx(0.001)
