"""The life cycle of a service's process.

    run("scheduler", SchedulerSettings, build_worker)

This is the whole `__main__` of a service. The process starts in this order: HTTP, Kafka's topics, resources, the
broker, background tasks. After SIGTERM or SIGINT it stops the background tasks, answers the HTTP requests that are in
flight, and closes the broker and the resources. `SHUTDOWN_GRACE_SECONDS` limits the first two together.

Exit codes: 0 after a signal, 1 after a failure or a second signal, 2 for settings that are not valid.

If a consumer reaches its limit of dead letters, the worker closes its resources and stays up, not ready, until a
signal; then it exits with code 1. If it exited by itself, it would be restarted, and each new process would store a few
more dead letters.
"""

import asyncio
import gc
import math
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
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
from runtime.process.http_server import AsgiApp, PortTaken, http_server
from runtime.process.producer_watch import ProducerWatch
from runtime.process.startup import start_broker, start_resources, wait_for_topics
from runtime.process.supervisor import Supervisor
from runtime.settings import WorkerSettings, load_settings
from runtime.tracing.spans import start_tracing, stop_tracing

__all__ = ["Background", "StartupRefused", "Worker", "build_app", "run", "serve"]

S = TypeVar("S", bound=WorkerSettings)

_GARBAGE_THRESHOLDS = (10_000, 20, 50)
"""The thresholds of the garbage collector; Python's defaults are (700, 10, 10). The first number is the number of new
objects before a collection of the youngest generation. The other numbers say how many collections of a generation come
before a collection of the next older one.
"""
_SWITCH_SECONDS = 0.001
"""How long a thread keeps the interpreter while the event loop waits for it. Python's default is 0.005. The event loop
may have to wait after each access to a socket. With many connections and the default, a thread that parses a large file
would delay the event loop for a long time.
"""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """The parts of a worker. Creating the object opens no connection."""

    name: str
    settings: WorkerSettings
    registry: CollectorRegistry
    health: Health
    broker: KafkaBroker | None = None
    """FastStream's broker. A worker without one has only background tasks and HTTP."""
    topics: tuple[Topic, ...] = ()
    """The topics that must exist, as declared, before anything else starts."""
    backgrounds: tuple[Background, ...] = ()
    """The background tasks. They are stopped in reverse order."""
    resources: Callable[[], AbstractAsyncContextManager[None]] | None = None
    """Context managers that are entered before the broker starts, and left after the broker and the HTTP server have
    stopped. Entering is retried during an outage. It may raise `StartupRefused`.
    """
    app: AsgiApp | None = None
    """The ASGI application that answers HTTP. None: only /metrics and /health."""
    end_streams: Callable[[], Awaitable[None]] | None = None
    """A function that ends the HTTP responses of `app` that would never end by themselves. It is called when the worker
    begins to stop.
    """


@dataclass
class _Phase:
    """A readiness check: the step that the worker waits for."""

    problem: str | None = "starting"

    def current(self) -> str | None:
        return self.problem


class _Grace:
    """The time that is left to finish work. It is counted from the moment at which the worker begins to stop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends_at: float | None = None

    def begin(self) -> None:
        if self._ends_at is None:
            self._ends_at = asyncio.get_running_loop().time() + self._seconds

    def remaining(self) -> float:
        """The remaining seconds, never negative."""
        return self._seconds if self._ends_at is None else max(0.0, self._ends_at - asyncio.get_running_loop().time())


def run(name: str, settings_type: type[S], build: Callable[[S], Worker]) -> None:
    """Run a worker until a signal or a failure ends it, and exit."""
    settings = load_settings(settings_type)
    configure_logging(settings, name)
    arm_failpoints()
    _start_tracing(settings, name)

    async def main() -> int:
        stop = asyncio.Event()
        _stop_on_signals(stop)
        worker = build(settings)
        _reduce_garbage_collection()
        sys.setswitchinterval(_SWITCH_SECONDS)
        return await serve(worker, stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(main())
    if not stop_tracing():
        log.warning(
            "The last spans were not sent: the endpoint of OTEL_EXPORTER_OTLP_ENDPOINT did not answer in time",
            action="spans_lost",
        )
    sys.exit(code)


def _start_tracing(settings: WorkerSettings, name: str) -> None:
    if start_tracing(settings, name):
        log.info(
            "Runs are traced",
            action="tracing_on",
            endpoint=settings.otel_exporter_otlp_endpoint,
            share=settings.otel_traces_sampler_arg,
        )


def build_app(worker: Worker) -> AsgiApp:
    """The worker's own ASGI application. If the worker has none, this builds one that serves the metrics, the health
    checks, and the AsyncAPI document of the broker.
    """
    if worker.app is not None:
        return worker.app
    routes = [("/metrics", make_asgi_app(worker.registry)), *worker.health.routes()]
    if worker.broker is None:
        return AsgiFastStream(asgi_routes=routes, logger=None)
    asyncapi = asyncapi_route(worker.name, worker.settings, worker.broker)
    return AsgiFastStream(worker.broker, asgi_routes=[*routes, asyncapi], logger=None)


async def serve(worker: Worker, stop: asyncio.Event | None = None) -> int:
    """Run a worker until `stop` is set. Returns the exit code of the process."""
    if worker.broker is not None:
        worker = replace(worker, backgrounds=(ProducerWatch(worker.broker).background(), *worker.backgrounds))
    phase, watchdog, settings = _Phase(), EventLoopWatchdog(), worker.settings
    _add_health_checks(worker, phase, watchdog)
    life_cycle = _LifeCycle(worker, phase, stop or asyncio.Event())
    try:
        async with (
            AsyncExitStack() as resources,  # the resources are closed last, because requests in flight need them
            watchdog,
            http_server(build_app(worker), settings.http_host, settings.http_port, life_cycle.drain_seconds) as port,
        ):
            log.info(
                "The HTTP server accepts requests",
                action="http_up",
                host=settings.http_host,
                port=port,
                processor_seconds=round(time.process_time(), 2),
            )
            code = await life_cycle.run(resources)
    except PortTaken as error:
        log.critical(str(error), action="port_taken")
        return 1
    log.info("Stopped", action="stopped", exit_code=code)
    return code


def _add_health_checks(worker: Worker, phase: _Phase, watchdog: EventLoopWatchdog) -> None:
    worker.health.readiness("worker", phase.current)
    worker.health.liveness("event loop", watchdog.problem)
    for background in worker.backgrounds:
        if background.liveness is not None:
            worker.health.liveness(background.name, background.liveness)
        if background.readiness is not None:
            worker.health.readiness(background.name, background.readiness)


class _LifeCycle:
    """Starts a worker behind its HTTP server, waits for its end, and stops its background tasks."""

    def __init__(self, worker: Worker, phase: _Phase, stop: asyncio.Event) -> None:
        self._worker, self._phase, self._stop = worker, phase, stop
        self._grace = _Grace(worker.settings.shutdown_grace_seconds)

    def drain_seconds(self) -> int:
        """The number of seconds that requests in flight may still take, at least one."""
        return max(1, math.ceil(self._grace.remaining()))

    async def run(self, resources: AsyncExitStack) -> int:
        """Returns the exit code. It enters the broker and the resources on the stack."""
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        resources.callback(stopping.cancel)
        starting = asyncio.create_task(self._start(resources), name="start")
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            log.info("Stop requested before the start was complete", action="stopping")
            starting.cancel()
            await asyncio.wait([starting])
            await self._begin_to_stop()
            return 0
        if (error := starting.exception()) is not None:
            _log_failed_start(error)
            await self._begin_to_stop()
            return 1
        self._phase.problem = None
        log.info("Ready", action="started", backgrounds=[background.name for background in self._worker.backgrounds])
        return await self._supervise(stopping, resources)

    async def _start(self, resources: AsyncExitStack) -> None:
        worker, phase = self._worker, self._phase
        if worker.topics:
            phase.problem = "waiting for Kafka"
            await wait_for_topics(worker.settings, worker.topics, phase)
        if worker.resources is not None:
            phase.problem = "opening resources"
            await start_resources(worker.resources, resources, phase)
        if worker.broker is not None:
            phase.problem = "joining consumer groups"
            await start_broker(worker.broker, worker.settings, resources)

    async def _supervise(self, stopping: asyncio.Task[bool], resources: AsyncExitStack) -> int:
        supervisor = Supervisor(self._worker.backgrounds)
        healthy = await supervisor.run_until(stopping)
        log.info("Stopping", action="stopping", grace_seconds=self._worker.settings.shutdown_grace_seconds)
        await self._begin_to_stop()
        stopped_well = await supervisor.stop(self._grace.remaining())
        if supervisor.at_its_limit is not None:
            await resources.aclose()
            await self._stay_not_ready(supervisor.at_its_limit)
        return 0 if healthy and stopped_well else 1

    async def _begin_to_stop(self) -> None:
        self._phase.problem = "shutting down"
        self._grace.begin()
        if self._worker.end_streams is not None:
            await self._worker.end_streams()

    async def _stay_not_ready(self, problem: str) -> None:
        self._phase.problem = problem
        for background in self._worker.backgrounds:
            self._worker.health.liveness(background.name, lambda: None)  # a restart would not help
        await self._stop.wait()


def _reduce_garbage_collection() -> None:
    """Exclude all objects that exist by now from garbage collection, and collect less often. With Python's defaults,
    garbage collection used a fifth of the CPU time of a busy collector. This changes the whole interpreter, so only
    `run` calls it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


def _log_failed_start(error: BaseException) -> None:
    if isinstance(error, StartupRefused):
        log.critical(f"Cannot start: {error}", action="startup_refused")
    else:
        log.critical("Cannot start", action="startup_failed", error=str(error), exc_info=error)


def _stop_on_signals(stop: asyncio.Event) -> None:
    def on_signal(received: signal.Signals) -> None:
        if stop.is_set():
            log.warning("Second signal: exiting at once", action="forced_exit", signal=received.name)
            os._exit(1)
        log.info("Stop requested", action="signal", signal=received.name)
        stop.set()

    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, on_signal, sig)
