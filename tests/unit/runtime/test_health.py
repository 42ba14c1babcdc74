import json
from unittest.mock import MagicMock

import httpx
import pytest
from faststream.asgi import AsgiFastStream
from prometheus_client import CollectorRegistry

from runtime.consumers.membership_fence import MembershipFence
from runtime.kafka.clients import build_broker
from runtime.lifecycle.health import Health
from runtime.process.event_loop_watchdog import EventLoopWatchdog
from runtime.process.http_server import http_server
from runtime.process.worker import Worker, build_app
from runtime.settings import KafkaSettings, WorkerSettings


async def get(health: Health, path: str) -> tuple[int, dict[str, object]]:
    broker = build_broker(KafkaSettings(kafka_bootstrap_servers="nowhere:1"), "test")
    app = AsgiFastStream(broker, asgi_routes=health.routes(), logger=None)
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await app({"type": "http", "path": path, "method": "GET", "headers": []}, receive, send)
    return int(str(sent[0]["status"])), json.loads(bytes(sent[1]["body"]))  # type: ignore[arg-type]


async def test_a_process_without_problems_is_live_and_ready() -> None:
    health = Health()
    health.liveness("loop", lambda: None)
    assert await get(health, "/health/live") == (200, {"status": "live", "problems": {}})
    assert await get(health, "/health/ready") == (200, {"status": "ready", "problems": {}})


async def test_a_process_that_is_not_ready_is_live_and_gives_the_reason() -> None:
    health = Health()
    health.readiness("kafka", lambda: "waiting for Kafka")
    assert (await get(health, "/health/live"))[0] == 200
    status, body = await get(health, "/health/ready")
    assert (status, body) == (503, {"status": "not ready", "problems": {"kafka": "waiting for Kafka"}})


async def test_a_process_that_is_not_live_is_not_ready() -> None:
    health = Health()
    health.liveness("consumer", lambda: "dead")
    assert (await get(health, "/health/live"))[0] == 503
    assert (await get(health, "/health/ready"))[0] == 503


def test_a_check_that_raises_counts_as_failed() -> None:
    health = Health()
    health.liveness("broken", lambda: str(1 / 0))
    assert "ZeroDivisionError" in health.live_problems()["broken"]


async def test_a_blocked_event_loop_is_detected() -> None:
    async with EventLoopWatchdog(limit_seconds=10) as watchdog:
        assert watchdog.problem() is None
        watchdog._last -= 11
        assert watchdog.problem() == "the event loop was blocked for 11 s"


@pytest.mark.parametrize(("age", "fresh"), [(0.0, True), (4.9, True), (5.0, False), (60.0, False)])
def test_a_heartbeat_is_fresh_until_its_limit(age: float, fresh: bool) -> None:
    fence = MembershipFence(5.0, clock=lambda: 100.0)
    fence.confirmed(100.0 - age)
    assert fence.is_fresh() is fresh


def test_without_a_heartbeat_membership_is_not_confirmed() -> None:
    fence = MembershipFence(5.0, clock=lambda: 100.0)
    assert not fence.is_fresh()
    fence.joined()
    assert fence.is_fresh()


def test_a_member_that_the_group_has_removed_is_not_confirmed_however_young_its_heartbeat_is() -> None:
    fence, consumer = MembershipFence(5.0, clock=lambda: 100.0), MagicMock()
    fence.attach(consumer)
    fence.confirmed(100.0)
    for generation, fresh in ((7, True), (-1, False)):
        consumer._coordinator.generation = generation
        assert fence.is_fresh() is fresh


async def test_a_worker_answers_head_wherever_it_answers_get() -> None:
    settings = WorkerSettings(kafka_bootstrap_servers="nowhere:1")
    worker = Worker(
        name="test",
        settings=settings,
        broker=build_broker(settings, "test"),
        registry=CollectorRegistry(),
        health=Health(),
        topics=(),
    )
    async with (
        http_server(build_app(worker), "127.0.0.1", 0) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        for path in ("/health/live", "/health/ready", "/metrics"):
            got, head = await client.get(path), await client.head(path)
            assert (head.status_code, head.content) == (got.status_code, b"")
            assert head.headers["content-type"] == got.headers["content-type"]
