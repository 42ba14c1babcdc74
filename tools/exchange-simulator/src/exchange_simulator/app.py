"""The HTTP application: selects the dialect by the first path segment, applies moods and logs requests."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from email.utils import formatdate
from typing import assert_never

from aiohttp import web

from exchange_simulator import control
from exchange_simulator.dialects.dialect import Dialect, ExchangeRequest, Fault, RefusedError, Reply, as_text
from exchange_simulator.moods import Kind, Mood, Target, html_page
from exchange_simulator.pages import RefusedSinceError
from exchange_simulator.request_log import Entry
from exchange_simulator.settings import SimulatorSettings
from exchange_simulator.simulator import Simulator

_TRICKLE_MS = timedelta(seconds=30) // timedelta(milliseconds=1)
_CHUNKS = 60


def build_app(settings: SimulatorSettings) -> web.Application:
    """The application. Raises replay.BadRecordingError if a recording cannot be read."""
    simulator = Simulator(settings)
    app = web.Application()
    app.add_routes(control.routes(simulator, settings.host))
    app.router.add_route("*", "/{host}/{path:.*}", Exchanges(simulator).handle)
    return app


@asynccontextmanager
async def running(settings: SimulatorSettings) -> AsyncIterator[str]:
    """Runs the simulator until the block ends and gives its base URL. Port 0 takes a free port."""
    runner = web.AppRunner(build_app(settings), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        await site.start()
        port = runner.addresses[0][1]
        yield f"http://{settings.host}:{port}"
    finally:
        await runner.cleanup()


@dataclass(frozen=True, slots=True)
class _Call:
    """One request while it is handled."""

    request: web.Request
    dialect: Dialect
    exchange_request: ExchangeRequest
    mood: Mood | None


class Exchanges:
    """Handles all paths under `/<original host>/`."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def handle(self, request: web.Request) -> web.StreamResponse:
        host = request.match_info["host"]
        dialect = self._simulator.by_host.get(host)
        if dialect is None:
            known = ", ".join(self._simulator.by_host)
            return web.json_response(
                {"error": f"no exchange has the host {host!r}; the simulator has {known}"}, status=404
            )
        began = time.perf_counter()
        number, received_at = self._simulator.log.next_id(), self._simulator.clock.wall_ms()
        path = "/" + request.match_info["path"]
        exchange_request = ExchangeRequest(host, path, dict(request.query), self._simulator.clock.now_ms())
        symbol = dialect.symbol(exchange_request)
        target = Target(dialect.exchange, symbol, dialect.timeframe(exchange_request), path)
        mood, page = moods = self._simulator.moods.moods_for(target, time.monotonic())
        status: int | None = None
        try:
            response = await self._respond(_Call(request, dialect, replace(exchange_request, page=page), mood))
            if mood is None or mood.kind not in (Kind.RESET, Kind.RESET_MID_BODY):
                status = response.status
        finally:
            duration_ms = round((time.perf_counter() - began) * 1_000, 3)
            self._simulator.log.add(
                Entry(
                    number,
                    received_at,
                    dialect.exchange,
                    request.method,
                    path,
                    dict(exchange_request.query),
                    symbol,
                    status,
                    moods.kind,
                    duration_ms,
                )
            )
        return response

    async def _respond(self, call: _Call) -> web.StreamResponse:
        mood = call.mood
        if mood is not None and mood.kind is not Kind.TRICKLE and mood.latency_ms:
            await asyncio.sleep(mood.latency_ms / 1_000)
        if mood is not None and mood.kind is Kind.RESET:
            _reset(call.request)
            return web.Response(status=200)
        reply = self._reply(call)
        response = self._headers(call, reply)
        if mood is not None and mood.kind is Kind.RESET_MID_BODY:
            await _send_slowly(call.request, response, reply.body[: len(reply.body) // 2], len(reply.body), 0)
            _reset(call.request)
            return response
        if mood is not None and mood.kind is Kind.TRICKLE:
            await _send_slowly(call.request, response, reply.body, len(reply.body), mood.latency_ms or _TRICKLE_MS)
            return response
        return web.Response(status=reply.status, body=reply.body, headers=response.headers)

    def _reply(self, call: _Call) -> Reply:
        """The reply of the exchange, as changed by the mood."""
        mood, dialect, exchange_request = call.mood, call.dialect, call.exchange_request
        if mood is not None and (instead := _reply_of_mood(mood, dialect, exchange_request)) is not None:
            return instead
        if self._simulator.rate_limits[dialect.exchange].is_exceeded(time.monotonic()):
            now_ms = exchange_request.now_ms
            return replace(dialect.fault(Fault.RATE_LIMIT, now_ms, now_ms), headers={"Retry-After": "1"})
        try:
            reply = dialect.respond(exchange_request)
        except RefusedError as refused:
            reply = refused.reply
        except RefusedSinceError:
            reply = dialect.fault(Fault.OLD_SINCE, exchange_request.now_ms, exchange_request.now_ms)
        if mood is not None and mood.kind is Kind.TRUNCATED:
            return replace(reply, body=reply.body[: len(reply.body) // 2])
        return reply

    def _headers(self, call: _Call, reply: Reply) -> web.StreamResponse:
        """The response without its body. `Date` is the simulated time, because collectors may read it."""
        now_seconds = self._simulator.clock.now_ms() / 1_000
        headers = {"Content-Type": reply.content_type, "Date": formatdate(now_seconds, usegmt=True), **reply.headers}
        if call.dialect.exchange == "binance":
            used = self._simulator.rate_limits["binance"].spend(reply.weight, time.monotonic())
            headers |= {"X-MBX-USED-WEIGHT": str(used), "X-MBX-USED-WEIGHT-1M": str(used)}
        if call.mood is not None and (retry_after := _retry_after(call.mood, now_seconds)) is not None:
            headers["Retry-After"] = retry_after
        return web.StreamResponse(status=reply.status, headers=headers)


def _reply_of_mood(mood: Mood, dialect: Dialect, exchange_request: ExchangeRequest) -> Reply | None:
    """The reply that the mood sends instead of the exchange's. None if the exchange replies."""
    match mood.kind:
        case (
            Kind.RATE_LIMIT
            | Kind.BAN
            | Kind.BAN_IN_BODY
            | Kind.MAINTENANCE
            | Kind.CREDENTIALS
            | Kind.BLOCKED
            | Kind.REFUSAL
        ):
            until_ms = exchange_request.now_ms + int(mood.ban_seconds * 1_000)
            reply = dialect.fault(Fault(mood.kind.value), exchange_request.now_ms, until_ms)
        case Kind.ERROR:
            reply = as_text(f"error {mood.status}", mood.status)
        case Kind.HTML:
            reply = html_page()
        case Kind.EMPTY:
            reply = Reply(200, b"")
        case Kind.LATENCY | Kind.TRUNCATED | Kind.RESET | Kind.RESET_MID_BODY | Kind.NO_CANDLES | Kind.MALFORMED:
            return None
        case Kind.TRICKLE | Kind.PAGE:
            return None
        case _:
            assert_never(mood.kind)
    body = reply.body if mood.body is None else mood.body.encode()
    return replace(reply, body=body, content_type=mood.content_type or reply.content_type)


def _retry_after(mood: Mood, now_seconds: float) -> str | None:
    seconds = mood.retry_after
    if mood.retry_after_text is not None or seconds is None:
        return mood.retry_after_text
    if mood.retry_after_form == "date":
        return formatdate(now_seconds + seconds, usegmt=True)
    return f"{seconds:g}"


async def _send_slowly(
    request: web.Request, response: web.StreamResponse, body: bytes, declared: int, over_ms: int
) -> None:
    """Send `body` in chunks over `over_ms`, with `declared` as the Content-Length."""
    response.content_length = declared
    await response.prepare(request)
    chunk = max(1, len(body) // _CHUNKS)
    for at in range(0, len(body), chunk):
        await asyncio.sleep(over_ms / 1_000 / _CHUNKS)
        await response.write(body[at : at + chunk])
    if len(body) == declared:
        await response.write_eof()


def _reset(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
