"""Clients that hang up, against the real process: not an error, and no harm to other callers."""

import asyncio
import fcntl
import os
import re
import signal
import socket
import struct
import sys
import termios
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from admin_api.events.positions import encode
from admin_api.events.topics import PARTITIONS
from contracts.topics import RUN_EVENTS
from contracts.vocabulary import RunStatus
from local_stack.ports import free_port
from runtime.kafka.clients import build_broker
from runtime.kafka.publisher import EventPublisher
from runtime.settings import KafkaSettings
from support.api import BASE, TOKEN
from support.polling import eventually
from support.run_histories import an_ending

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]

BEARER = {"Authorization": f"Bearer {TOKEN}"}
EVENTS = 5_000
"""With 1.7 kB each, they are more than the kernel buffers for a connection."""
LISTENERS = 12
MOST_LATENCY_SECONDS = 0.5
"""Without the time in which the process or this test waits for a processor: that depends on the machine."""
FIRST_ID = encode(dict.fromkeys(PARTITIONS, 0), 0)
"""The id of a client that has seen nothing. All topics of a test begin at offset 0."""


@dataclass(frozen=True)
class Served:
    """A running process of admin-api."""

    process: asyncio.subprocess.Process
    port: int
    log_file: Path
    clients: list[socket.socket] = field(default_factory=list)

    def failures(self) -> list[str]:
        """The lines of the log with a level above warning, and all that belongs to tracebacks."""
        lines = self.log_file.read_text().splitlines()
        return [
            line for line in lines if re.search(r"\[(error|critical) |\"level\": \"(error|critical)|Traceback", line)
        ]

    def connect(self) -> socket.socket:
        """A connection with the smallest receive buffer, so that the server soon has to wait for a reader."""
        client = socket.socket()
        self.clients.append(client)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", self.port))
        return client

    def listen(self, query: str = "", **headers: str) -> socket.socket:
        """A connection with an event stream that is never read."""
        client = self.connect()
        lines = [f"GET {BASE}/events{query} HTTP/1.1", "Host: api", f"Authorization: Bearer {TOKEN}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        return client


@pytest.fixture
async def serve(
    database_url: str, kafka_settings: KafkaSettings, tmp_path: Path
) -> AsyncIterator[Callable[..., Awaitable[Served]]]:
    """Start the process with these environment variables, and wait until it is ready."""
    started: list[Served] = []

    async def start(**variables: str) -> Served:
        port, log_file = free_port(), tmp_path / "admin-api.log"
        environment = {
            **os.environ,
            "CANDLEKEEP_ADMIN_TOKEN": TOKEN,
            "DATABASE_URL": database_url,
            "KAFKA_BOOTSTRAP_SERVERS": kafka_settings.kafka_bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": kafka_settings.kafka_topic_prefix,
            "HTTP_PORT": str(port),
        }
        with log_file.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "admin_api", env=environment | variables, stdout=log, stderr=log
            )
        served = Served(process, port, log_file)
        started.append(served)
        await eventually(lambda: responds(served, "/health/ready"), within=90)
        return served

    yield start
    for served in started:
        for client in served.clients:
            client.close()
        if served.process.returncode is None:
            served.process.kill()
            await served.process.wait()


async def responds(served: Served, path: str) -> bool:
    # Loading the certificates takes 20 ms, often repeated.
    async with httpx.AsyncClient(verify=False, timeout=60) as client:
        try:
            return (await client.get(f"http://127.0.0.1:{served.port}{path}")).status_code == 200
        except httpx.TransportError:
            return False


async def metric(served: Served, name: str) -> float:
    async with httpx.AsyncClient(verify=False, timeout=60) as client:
        text = (await client.get(f"http://127.0.0.1:{served.port}/metrics")).text
    found = re.search(rf"^{name}(?:{{.*}})? (.+)$", text, re.MULTILINE)
    assert found is not None, name
    return float(found.group(1))


def waited_for_a_processor(*processes: str) -> float:
    """Seconds since their start in which the main threads were ready to run, but others used the processors."""
    files = (Path(f"/proc/{process}/schedstat") for process in processes)
    return sum(int(file.read_text().split()[1]) for file in files if file.exists()) / 1e9


@asynccontextmanager
async def measuring_health(served: Served) -> AsyncIterator[list[float]]:
    """The durations of requests to /health/live, in seconds, one request after the other while the block runs."""
    durations: list[float] = []
    both = ("self", str(served.process.pid))

    async def measure() -> None:
        async with httpx.AsyncClient(timeout=60) as client:
            while True:
                started_at, waited = time.monotonic(), waited_for_a_processor(*both)
                answer = await client.get(f"http://127.0.0.1:{served.port}/health/live")
                durations.append(time.monotonic() - started_at - waited_for_a_processor(*both) + waited)
                assert answer.status_code == 200
                await asyncio.sleep(0.01)

    measuring = asyncio.create_task(measure())
    yield durations
    assert not measuring.done(), "a request to /health/live failed"
    measuring.cancel()


def unread_bytes(client: socket.socket) -> int:
    return int(struct.unpack("i", fcntl.ioctl(client, termios.FIONREAD, b"\0\0\0\0"))[0])


async def until_stalled(clients: list[socket.socket]) -> None:
    """Until no connection receives any more, because the buffers between the server and its clients are full."""
    previous: list[int] = []

    async def nothing_arrives() -> bool:
        nonlocal previous
        before, previous = previous, [unread_bytes(client) for client in clients]
        await asyncio.sleep(0.2)
        return previous == before and all(previous)

    await eventually(nothing_arrives, within=60)


async def publish_events(settings: KafkaSettings) -> None:
    broker = build_broker(settings, "hang-up-test")
    await broker.start()
    publisher = EventPublisher(broker, settings, "hang-up-test")
    failed = {"status": RunStatus.FAILED, "error_message": "x" * 1000}
    await publisher.publish_many(RUN_EVENTS, [an_ending(config_id=n % 40 + 1, **failed) for n in range(EVENTS)])
    await broker.stop()


@pytest.mark.parametrize("log_format", ["console", "json"])
async def test_listeners_that_never_read_and_then_hang_up_are_no_error_and_delay_no_one(
    serve: Callable[..., Awaitable[Served]], kafka_settings: KafkaSettings, log_format: str
) -> None:
    await publish_events(kafka_settings)
    served = await serve(LOG_FORMAT=log_format)
    await eventually(lambda: metric_is(served, "candlekeep_event_stream_events_total", EVENTS), within=30)
    async with measuring_health(served) as durations:
        listeners = [served.listen(Last_Event_ID=FIRST_ID) for _ in range(LISTENERS)]
        await eventually(lambda: metric_is(served, "candlekeep_event_streams_open", LISTENERS), within=30)
        await until_stalled(listeners)
        for listener in listeners:
            listener.close()
        await eventually(lambda: metric_is(served, "candlekeep_event_streams_open", 0), within=60)
        count = len(durations)
        await eventually(lambda: len(durations) > count + 20, within=60)
    assert max(durations) < MOST_LATENCY_SECONDS
    assert served.process.returncode is None
    assert served.failures() == []


async def test_a_listener_that_stopped_reading_ends_after_its_seconds_and_its_connection_is_closed(
    serve: Callable[..., Awaitable[Served]], kafka_settings: KafkaSettings
) -> None:
    await publish_events(kafka_settings)
    served = await serve()
    await eventually(lambda: metric_is(served, "candlekeep_event_stream_events_total", EVENTS), within=30)
    listener = served.listen("?seconds=20", Last_Event_ID=FIRST_ID)
    await until_stalled([listener])
    assert await metric_is(served, "candlekeep_event_streams_open", 1)
    await eventually(lambda: metric_is(served, "candlekeep_event_streams_open", 0), within=30)
    assert not await asyncio.to_thread(read_to_end, listener), "the response is complete: the listener has not stalled"
    assert served.failures() == []


async def test_a_listener_that_stopped_reading_does_not_delay_the_stop(
    serve: Callable[..., Awaitable[Served]], kafka_settings: KafkaSettings
) -> None:
    await publish_events(kafka_settings)
    served = await serve(SHUTDOWN_GRACE_SECONDS="60")
    await eventually(lambda: metric_is(served, "candlekeep_event_stream_events_total", EVENTS), within=30)
    await until_stalled([served.listen(Last_Event_ID=FIRST_ID)])
    served.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        assert await served.process.wait() == 0
    assert served.failures() == []


def read_to_end(client: socket.socket) -> bool:
    """Whether the response is complete. False if the server has closed the connection before."""
    received = b""
    client.settimeout(30)
    try:
        while part := client.recv(1 << 20):
            received = (received + part)[-5:]
    except ConnectionResetError:
        return False
    return received == b"0\r\n\r\n"


@pytest.mark.parametrize("log_format", ["console", "json"])
async def test_a_client_that_hangs_up_during_any_request_is_no_error(
    serve: Callable[..., Awaitable[Served]], log_format: str
) -> None:
    served = await serve(LOG_FORMAT=log_format)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}", headers=BEARER, timeout=60) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
        operations = [(method.upper(), path) for path, methods in paths.items() for method in methods]
        assert len(operations) > 30
        for method, path in [*operations, ("HEAD", f"{BASE}/events"), ("GET", "/docs")]:
            for sent in request_texts(method, re.sub(r"{\w+}", "1", path)):
                hang_up_after(served, sent)
        await eventually(lambda: metric_is(served, "candlekeep_event_streams_open", 0), within=30)
        assert (await client.get("/health/ready")).status_code == 200
    served.process.send_signal(signal.SIGTERM)  # requests in flight are finished first
    assert await served.process.wait() == 0
    assert served.failures() == []


def request_texts(method: str, path: str) -> list[bytes]:
    """A whole request; for methods with a body also one whose body is not complete."""
    head = f"{method} {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {TOKEN}\r\n"
    if method in {"GET", "HEAD", "DELETE"}:
        return [f"{head}\r\n".encode()]
    with_body = f"{head}Content-Type: application/json\r\nContent-Length: "
    return [f"{with_body}2\r\n\r\n{{}}".encode(), f'{with_body}900\r\n\r\n{{"symbol": '.encode()]


def hang_up_after(served: Served, sent: bytes) -> None:
    client = served.connect()
    client.sendall(sent)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close with a reset
    client.close()


async def metric_is(served: Served, name: str, value: float) -> bool:
    return await metric(served, name) == value
