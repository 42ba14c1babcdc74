"""The life of the process: HTTP first, then the schema is checked, then the relay runs, until a signal."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from admin_api.app import AdminApi, build_api
from admin_api.settings import AdminApiSettings
from runtime.lifecycle.background import Background
from runtime.lifecycle.startup_errors import StartupRefused
from runtime.logs import log
from runtime.process.event_loop_watchdog import EventLoopWatchdog
from runtime.process.http_server import PortTaken, http_server
from runtime.process.startup import start_resources
from runtime.process.supervisor import Supervisor
from store.schema import SchemaOutOfDate, ensure_current


@dataclass
class _Phase:
    problem: str | None = "waiting for Postgres"

    def current(self) -> str | None:
        return self.problem


async def serve(settings: AdminApiSettings, stop: asyncio.Event | None = None) -> int:
    """Serve until `stop` is set. Returns the exit code: 0 when told to stop, 1 when something broke."""
    stop, api, phase, pulse = stop or asyncio.Event(), build_api(settings), _Phase(), EventLoopWatchdog()
    api.health.liveness("event loop", pulse.problem)
    api.health.readiness("process", phase.current)
    try:
        async with http_server(api.app, settings.http_host, settings.http_port) as port, pulse:
            log.info("Answering HTTP", action="http_up", host=settings.http_host, port=port)
            code = await _live(api, phase, stop)
    except PortTaken as error:
        log.critical(str(error), action="port_taken")
        return 1
    finally:
        await api.engine.dispose()
    log.info("Stopped", action="stopped", exit_code=code)
    return code


def listen_to_signals(stop: asyncio.Event) -> None:
    """SIGTERM and SIGINT ask for a graceful end."""
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)


async def _live(api: AdminApi, phase: _Phase, stop: asyncio.Event) -> int:
    stopping = asyncio.create_task(stop.wait(), name="stop")
    async with AsyncExitStack() as stack:
        stack.callback(stopping.cancel)
        checking = asyncio.create_task(start_resources(lambda: _current_schema(api), stack, phase), name="schema")
        await asyncio.wait([checking, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not checking.done():
            checking.cancel()
            await asyncio.wait([checking])
            return 0
        if (error := checking.exception()) is not None:
            known = isinstance(error, StartupRefused)
            log.critical(f"Cannot start: {error}", action="startup_refused", exc_info=None if known else error)
            return 1
        phase.problem = None
        relay = Background("relay", api.relay.run, api.relay.stop)
        supervisor = Supervisor([relay, api.feed.background(), api.releaser.background()])
        healthy = await supervisor.run_until(stopping)
        phase.problem = "shutting down"
        stopped_well = await supervisor.stop(api.settings.shutdown_grace_seconds)
        return 0 if healthy and stopped_well else 1


@asynccontextmanager
async def _current_schema(api: AdminApi) -> AsyncIterator[None]:
    """Raises StartupRefused on an older schema; an outage is the caller's to wait out."""
    try:
        await ensure_current(api.engine)
    except SchemaOutOfDate as error:
        raise StartupRefused(str(error)) from error
    yield
