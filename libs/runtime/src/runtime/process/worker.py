"""The life of a worker process: HTTP first, then Kafka, resources and consumers; on SIGTERM the same way back.

    run("scheduler", SchedulerSettings, build_worker)

is the whole of a service's `__main__`. Exit codes: 0 after a signal, 1 when something broke, 2 for bad settings.

A worker whose consumer has put aside too many messages lets go of everything and stays, not ready, until it is told to
stop (exit code 1). Did it end, its supervisor would start it again, and each life would put aside a few more.
"""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TypeVar

import uvloop
from faststream.asgi import AsgiFastStream
from faststream.kafka import KafkaBroker
from prometheus_client import CollectorRegistry, make_asgi_app

from contracts.topics import Topic
from runtime.failpoints import arm_failpoints
from runtime.kafka.asyncapi import asyncapi_route
from runtime.lifecycle.background import Background
from runtime.lifecycle.health import Health
from runtime.lifecycle.startup_errors import StartupRefused
from runtime.logs import configure_logging, log
from runtime.process.event_loop_watchdog import EventLoopWatchdog
from runtime.process.http_server import PortTaken, http_server
from runtime.process.producer_watch import ProducerWatch
from runtime.process.startup import start_broker, start_resources, wait_for_topics
from runtime.process.supervisor import Supervisor
from runtime.settings import WorkerSettings, load_settings

__all__ = ["Background", "StartupRefused", "Worker", "build_app", "run", "serve"]

S = TypeVar("S", bound=WorkerSettings)

_GARBAGE_THRESHOLDS = (10_000, 20, 50)
"""Python's are (700, 10, 10): objects made before the youngest are looked at, and how seldom the older ones are."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """What a worker is made of. Building one connects to nothing."""

    name: str
    settings: WorkerSettings
    broker: KafkaBroker
    registry: CollectorRegistry
    health: Health
    topics: tuple[Topic, ...]
    """Must exist, with their partitions, before anything starts."""
    backgrounds: tuple[Background, ...] = ()
    resources: Callable[[], AbstractAsyncContextManager[None]] | None = None
    """Opened before the broker, closed after it. While it fails as an outage does it is tried again; it may raise
    `StartupRefused`."""


@dataclass
class _Phase:
    problem: str | None = "starting"
    backgrounds: list[str] = field(default_factory=list)

    def current(self) -> str | None:
        return self.problem


def run(name: str, settings_type: type[S], build: Callable[[S], Worker]) -> None:
    """Run a worker until a signal or a failure ends it, and exit."""
    settings = load_settings(settings_type)
    configure_logging(settings, name)
    arm_failpoints()

    async def main() -> int:
        stop = asyncio.Event()
        _listen_to_signals(stop)
        worker = build(settings)
        _look_for_garbage_less_often()
        return await serve(worker, stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(main())
    sys.exit(code)


def build_app(worker: Worker) -> AsgiFastStream:
    """The FastStream application: metrics, health checks and the AsyncAPI document over HTTP."""
    asyncapi = asyncapi_route(worker.name, worker.settings, worker.broker)
    return AsgiFastStream(
        worker.broker,
        asgi_routes=[("/metrics", make_asgi_app(worker.registry)), *worker.health.routes(), asyncapi],
        logger=None,
    )


async def serve(worker: Worker, stop: asyncio.Event | None = None) -> int:
    """Run a worker until `stop` is set. Returns the process' exit code."""
    worker = replace(worker, backgrounds=(ProducerWatch(worker.broker).background(), *worker.backgrounds))
    phase, pulse = _Phase(), EventLoopWatchdog()
    worker.health.readiness("worker", phase.current)
    worker.health.liveness("event loop", pulse.problem)
    for background in worker.backgrounds:
        if background.liveness is not None:
            worker.health.liveness(background.name, background.liveness)
        if background.readiness is not None:
            worker.health.readiness(background.name, background.readiness)
    app, settings = build_app(worker), worker.settings
    try:
        async with http_server(app, settings.http_host, settings.http_port) as port, pulse:
            log.info("Answering HTTP", action="http_up", host=settings.http_host, port=port)
            code = await _live(worker, app, stop or asyncio.Event(), phase)
    except PortTaken as error:
        log.critical(str(error), action="port_taken")
        return 1
    log.info("Stopped", action="stopped", exit_code=code)
    return code


async def _live(worker: Worker, app: AsgiFastStream, stop: asyncio.Event, phase: _Phase) -> int:
    stopping = asyncio.create_task(stop.wait())
    supervisor = Supervisor(worker.backgrounds)
    async with AsyncExitStack() as stack:
        stack.callback(stopping.cancel)
        starting = asyncio.create_task(_start(worker, app, stack, phase))
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            log.info("Told to stop before everything was up", action="stopping")
            phase.problem = "shutting down"
            starting.cancel()
            await asyncio.wait([starting])
            return 0
        if (error := starting.exception()) is not None:
            _explain_refusal(error)
            return 1
        phase.problem = None
        log.info("Ready", action="started", backgrounds=[background.name for background in worker.backgrounds])
        healthy = await supervisor.run_until(stopping)
        phase.problem = "shutting down"
        log.info("Stopping", action="stopping", grace_seconds=worker.settings.shutdown_grace_seconds)
        stopped_well = await supervisor.stop(worker.settings.shutdown_grace_seconds)
    if supervisor.at_its_limit is not None:
        phase.problem = supervisor.at_its_limit
        for background in worker.backgrounds:
            worker.health.liveness(background.name, lambda: None)  # a restart would not cure what this one stopped for
        await stop.wait()
    return 0 if healthy and stopped_well else 1


async def _start(worker: Worker, app: AsgiFastStream, stack: AsyncExitStack, phase: _Phase) -> None:
    phase.problem = "waiting for Kafka"
    await wait_for_topics(worker.settings, worker.topics, phase)
    if worker.resources is not None:
        phase.problem = "opening resources"
        await start_resources(worker.resources, stack, phase)
    phase.problem = "joining consumer groups"
    await start_broker(app, worker.settings, stack)


def _look_for_garbage_less_often() -> None:
    """What is imported and built by now stays: it need not be searched again and again. With Python's defaults a fifth
    of a busy collector's time went into that. For a process of its own only: it holds for the whole interpreter.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


def _explain_refusal(error: BaseException) -> None:
    if isinstance(error, StartupRefused):
        log.critical(f"Cannot start: {error}", action="startup_refused")
    else:
        log.critical("Cannot start", action="startup_failed", error=str(error), exc_info=error)


def _listen_to_signals(stop: asyncio.Event) -> None:
    def on_signal(received: signal.Signals) -> None:
        if stop.is_set():
            log.warning("A second signal: leaving at once", action="forced_exit", signal=received.name)
            os._exit(1)
        log.info("Told to stop", action="signal", signal=received.name)
        stop.set()

    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, on_signal, sig)
