import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from contracts.topics import TICKS
from local_stack.keeper import KeptKafka
from runtime.kafka.clients import build_broker
from runtime.kafka.publisher import EventPublisher
from runtime.lifecycle.background import Background
from runtime.lifecycle.health import Health
from runtime.metrics import new_registry
from runtime.process.worker import Worker, serve
from runtime.settings import KafkaSettings, WorkerSettings
from support.consuming import committed, ticks
from support.kafka import create_topics, delete_topics
from support.polling import eventually

pytestmark = pytest.mark.kafka

TESTS = Path(__file__).parents[2]


class Tiny:
    """A running `support.tiny_worker`."""

    def __init__(self, process: Process, results: Path) -> None:
        self.process, self.results = process, results
        self.output: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.output.append(line.decode().rstrip())

    def numbers(self) -> list[int]:
        return [int(line) for line in self.results.read_text().split()] if self.results.exists() else []

    async def health(self, which: str) -> tuple[int, dict[str, str]]:
        port = await eventually(self._port, within=20)
        return await asyncio.to_thread(_get, f"http://127.0.0.1:{port}/health/{which}")

    def _port(self) -> int:
        found = re.search(r'"port": (\d+)', "\n".join(self.output))
        assert found, f"HTTP is not up: {self.output}"
        return int(found.group(1))

    async def metrics(self) -> str:
        url = f"http://127.0.0.1:{self._port()}/metrics"
        return await asyncio.to_thread(lambda: urlopen(url, timeout=5).read().decode())

    async def ready(self) -> bool:
        status, problems = await self.health("ready")
        assert status == 200, problems
        return True

    async def exit_code(self, within: float = 20) -> int:
        async with asyncio.timeout(within):
            code = await self.process.wait()
            await self._reading
        return code


def _get(url: str) -> tuple[int, dict[str, str]]:
    try:
        with urlopen(url, timeout=5) as answer:
            return answer.status, json.load(answer)["problems"]
    except HTTPError as error:
        return error.code, json.load(error)["problems"]


@asynccontextmanager
async def tiny_worker(settings: KafkaSettings, results: Path, **extra: str) -> AsyncIterator[Tiny]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(TESTS),
        "HTTP_PORT": "0",
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": settings.kafka_topic_prefix,
        "KAFKA_SESSION_TIMEOUT_MS": str(settings.kafka_session_timeout_ms),
        "RESULTS": str(results),
        **extra,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "support.tiny_worker", env=environment, stderr=asyncio.subprocess.PIPE
    )
    tiny = Tiny(process, results)
    try:
        yield tiny
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_at_sigterm_work_in_flight_is_finished_and_committed_and_the_exit_code_is_0(
    kafka_settings: KafkaSettings, publisher: EventPublisher, tmp_path: Path
) -> None:
    async with tiny_worker(kafka_settings, tmp_path / "results", HANDLE_SECONDS="1") as tiny:
        await eventually(tiny.ready, within=30)
        await publisher.publish_many(TICKS, ticks(range(1, 21), lanes=5))
        await eventually(tiny_has_work(tiny), within=10)
        tiny.process.send_signal(signal.SIGTERM)
        assert await tiny.exit_code() == 0
        assert tiny.output[-1].find('"exit_code": 0') > 0
        assert "resources closed" in tiny.output
        done = tiny.numbers()
    offsets = await committed(kafka_settings, "tiny", TICKS)
    assert len(done) == len(set(done)) > 0
    assert sum(offset for offset, _ in offsets.values()) == len(done)


async def test_a_trace_endpoint_that_never_answers_delays_neither_the_work_nor_the_stop(
    kafka_settings: KafkaSettings, publisher: EventPublisher, tmp_path: Path
) -> None:
    connections: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    async with tiny_worker(kafka_settings, tmp_path / "results", OTEL_EXPORTER_OTLP_ENDPOINT=url) as tiny:
        await eventually(tiny.ready, within=120)
        await publisher.publish_many(TICKS, ticks(range(1, 6001), lanes=40))
        await eventually(lambda: len(tiny.numbers()) == 6000, within=150)
        await eventually(lambda: connections, within=60)
        await tiny.ready()
        tiny.process.send_signal(signal.SIGTERM)
        assert await tiny.exit_code(within=60) == 0
        # It waited for the endpoint a short time only: otherwise the exporter would have ended by itself.
        assert "The last spans were not sent" in tiny.output[-1]
    silent.close()
    for connection in connections:
        connection.close()
        await connection.wait_closed()


def tiny_has_work(tiny: Tiny) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return 'candlekeep_consumer_in_flight{consumer="tiny"} 0.0' not in await tiny.metrics()

    return check


async def test_a_killed_worker_loses_nothing(
    kafka_settings: KafkaSettings, publisher: EventPublisher, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    async with tiny_worker(kafka_settings, results, HANDLE_SECONDS="0.3") as first:
        await eventually(first.ready, within=30)
        await publisher.publish_many(TICKS, ticks(range(1, 1001), lanes=40))
        await eventually(lambda: len(first.numbers()) > 200, within=20)
        first.process.kill()
        await first.exit_code()
        before = len(first.numbers())
        assert before < 1000
        async with tiny_worker(kafka_settings, results, HANDLE_SECONDS="0.01") as second:
            await eventually(lambda: set(second.numbers()) == set(range(1, 1001)), within=60)
            repeated = len(second.numbers()) - 1000
            second.process.send_signal(signal.SIGTERM)
            assert await second.exit_code() == 0
    assert repeated <= 400, "only ticks in flight and ticks finished since the last commit are handled again"
    assert sum(offset for offset, _ in (await committed(kafka_settings, "tiny", TICKS)).values()) == 1000


async def test_while_kafka_is_unavailable_a_worker_is_live_and_not_ready_and_gives_the_reason(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    host, port = kafka_settings.kafka_bootstrap_servers.split(",")[0].rsplit(":", 1)
    proxy = await asyncio.start_server(forward_to(host, int(port)), "127.0.0.1", 0)
    address = proxy.sockets[0].getsockname()
    proxy.close()
    await proxy.wait_closed()
    unavailable = kafka_settings.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{address[1]}"})
    async with tiny_worker(unavailable, tmp_path / "results") as tiny:
        assert await tiny.health("live") == (200, {})
        status, problems = await tiny.health("ready")
        assert (status, problems["worker"]) == (503, "waiting for Kafka")
        proxy = await asyncio.start_server(forward_to(host, int(port)), "127.0.0.1", address[1])
        await eventually(tiny.ready, within=40)
        assert await tiny.health("live") == (200, {})
        tiny.process.send_signal(signal.SIGTERM)
        assert await tiny.exit_code() == 0
    proxy.close()


def forward_to(host: str, port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection(host, port)
        await asyncio.gather(pump(reader, onward_writer), pump(onward_reader, writer))

    return serve


async def test_a_worker_waits_for_missing_topics_and_names_the_command_that_creates_them(
    kafka: KeptKafka, kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    empty = kafka_settings.model_copy(update={"kafka_topic_prefix": f"{kafka_settings.kafka_topic_prefix}late."})
    async with tiny_worker(empty, tmp_path / "results") as tiny:

        async def names_the_command() -> bool:
            status, problems = await tiny.health("ready")
            assert status == 503
            return "python -m runtime.kafka.topics provision" in problems["worker"]

        await eventually(names_the_command, within=30)
        await create_topics(kafka, empty)
        await eventually(tiny.ready, within=30)
    await delete_topics(kafka, empty)


async def test_a_refused_start_is_logged_in_one_line_and_the_exit_code_is_1(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    async with tiny_worker(kafka_settings, tmp_path / "results", FAIL_START="1", LOG_FORMAT="console") as tiny:
        assert await tiny.exit_code() == 1
        assert any("Cannot start: the schema is old. Run: make migrate" in line for line in tiny.output)
        assert not any("Traceback" in line for line in tiny.output)


async def test_a_signal_before_kafka_answers_ends_the_worker_with_exit_code_0(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    unavailable = kafka_settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:9"})
    async with tiny_worker(unavailable, tmp_path / "results") as tiny:
        await tiny.health("live")
        tiny.process.send_signal(signal.SIGINT)
        assert await tiny.exit_code() == 0


async def test_a_second_signal_ends_the_process_at_once(
    kafka_settings: KafkaSettings, publisher: EventPublisher, tmp_path: Path
) -> None:
    async with tiny_worker(kafka_settings, tmp_path / "results", HANDLE_SECONDS="60") as tiny:
        await eventually(tiny.ready, within=30)
        await publisher.publish_many(TICKS, ticks([1]))
        await eventually(tiny_has_work(tiny), within=10)
        tiny.process.send_signal(signal.SIGTERM)
        await eventually(lambda: any("Stop requested" in line for line in tiny.output))
        tiny.process.send_signal(signal.SIGTERM)
        assert await tiny.exit_code(5) == 1


async def test_a_port_in_use_is_named_and_the_exit_code_is_1(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    taken = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    async with tiny_worker(kafka_settings, tmp_path / "results", HTTP_PORT=str(port)) as tiny:
        assert await tiny.exit_code() == 1
        assert any(f"Cannot listen on 127.0.0.1:{port}" in line and "HTTP_PORT" in line for line in tiny.output)
    taken.close()


async def stopped(tiny: Tiny) -> tuple[int, dict[str, str]]:
    status, problems = await tiny.health("ready")
    assert "stops" in problems.get("worker", ""), problems
    return status, problems


def a_worker(settings: KafkaSettings, *backgrounds: Background) -> Worker:
    worker_settings = WorkerSettings(**settings.model_dump(), http_port=0)
    return Worker(
        name="test",
        settings=worker_settings,
        broker=build_broker(settings, "test"),
        registry=new_registry(),
        health=Health(),
        topics=(TICKS,),
        backgrounds=backgrounds,
    )


async def test_if_a_background_task_fails_the_exit_code_is_1(kafka_settings: KafkaSettings) -> None:
    async def fail() -> None:
        raise LookupError("a bug")

    async def nothing() -> None:
        return

    worker = a_worker(kafka_settings, Background("failing", fail, nothing))
    assert await asyncio.wait_for(serve(worker), 30) == 1


async def test_a_worker_at_its_limit_of_dead_letters_stops_and_says_what_to_do_in_log_metric_and_health(
    kafka_settings: KafkaSettings, publisher: EventPublisher, tmp_path: Path
) -> None:
    for _ in range(20):
        await publisher.publish_raw(TICKS, key="binance", value=b"{}", headers={})
    async with tiny_worker(kafka_settings, tmp_path / "results", DEAD_LETTERS_MAX_CONSECUTIVE_AT_START="4") as tiny:
        await eventually(lambda: '"action": "too_many_dead_letters"' in "\n".join(tiny.output), within=30)
        await eventually(lambda: "resources closed" in tiny.output, within=20)
        status, problems = await eventually(lambda: stopped(tiny), within=20)
        assert (status, (await tiny.health("live"))[0]) == (503, 200), "a restart would not help"
        assert "limit: DEAD_LETTERS_MAX_CONSECUTIVE_AT_START" in problems["worker"]
        assert 'candlekeep_consumer_stopped{consumer="tiny"} 1.0' in await tiny.metrics()
        assert 'candlekeep_dead_letters_total{consumer="tiny"' in await tiny.metrics()
        tiny.process.send_signal(signal.SIGTERM)
        assert await tiny.exit_code() == 1
    (alert,) = [json.loads(line) for line in tiny.output if '"level": "critical"' in line]
    assert alert["action"] == "too_many_dead_letters"
    assert "limit: DEAD_LETTERS_MAX_CONSECUTIVE_AT_START" in alert["event"]
    assert "python -m runtime.dead_letters list" in alert["event"]
    assert "exception" not in alert
    assert await committed(kafka_settings, "tiny", TICKS) == {}, "the next start reads the same messages again"


async def test_a_worker_runs_until_its_stop_is_requested(kafka_settings: KafkaSettings) -> None:
    stop, started, stop_order = asyncio.Event(), [], []

    def background(name: str) -> Background:
        ended = asyncio.Event()

        async def run() -> None:
            started.append(name)
            await ended.wait()
            stop_order.append(name)

        async def end() -> None:
            ended.set()

        return Background(name, run, end, readiness=lambda: None)

    worker = a_worker(kafka_settings, background("relay"), background("consumer"))
    serving = asyncio.create_task(serve(worker, stop))
    await eventually(lambda: started == ["relay", "consumer"], within=20)
    assert worker.health.ready_problems() == {}
    stop.set()
    assert await asyncio.wait_for(serving, 20) == 0
    assert stop_order == ["consumer", "relay"]
    assert worker.health.ready_problems() == {"worker": "shutting down"}
