"""The HTTP application: finds the dialect behind the first path segment, lets moods interfere, and logs the request."""

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
from exchange_simulator.dialects.dialect import Ask, Dialect, Fault, RefusedError, Reply, as_text
from exchange_simulator.moods import Kind, Mood, html_page, spoiler
from exchange_simulator.request_log import Entry
from exchange_simulator.settings import SimulatorSettings
from exchange_simulator.simulator import Simulator

_TRICKLE_MS = timedelta(seconds=30) // timedelta(milliseconds=1)
_DRIPS = 60


def build_app(settings: SimulatorSettings) -> web.Application:
    """Raises replay.BadRecordingError when a recording cannot be read."""
    simulator = Simulator(settings)
    app = web.Application()
    app.add_routes(control.routes(simulator))
    app.router.add_route("*", "/{host}/{path:.*}", Exchanges(simulator).handle)
    return app


@asynccontextmanager
async def running(settings: SimulatorSettings) -> AsyncIterator[str]:
    """Serves until the block ends; gives the base URL. Port 0 takes a free one."""
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
class _Visit:
    """One request on its way through."""

    request: web.Request
    dialect: Dialect
    ask: Ask
    mood: Mood | None


class Exchanges:
    """Everything under `/<original host>/`."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def handle(self, request: web.Request) -> web.StreamResponse:
        host = request.match_info["host"]
        dialect = self._simulator.by_host.get(host)
        if dialect is None:
            known = ", ".join(self._simulator.by_host)
            return web.json_response({"error": f"no exchange at {host!r}; the simulator speaks {known}"}, status=404)
        began = time.perf_counter()
        number, received_at = self._simulator.log.next_id(), self._simulator.clock.wall_ms()
        path = "/" + request.match_info["path"]
        ask = Ask(host, path, dict(request.query), self._simulator.clock.now_ms())
        symbol = dialect.symbol(ask)
        mood = self._simulator.moods.meet(dialect.exchange, symbol, path, time.monotonic())
        status: int | None = None
        try:
            response = await self._respond(_Visit(request, dialect, replace(ask, spoil=spoiler(mood)), mood))
            if mood is None or mood.kind not in (Kind.RESET, Kind.RESET_MID_BODY):
                status = response.status
        finally:
            duration_ms = round((time.perf_counter() - began) * 1_000, 3)
            kind = mood.kind if mood else None
            self._simulator.log.add(
                Entry(
                    number,
                    received_at,
                    dialect.exchange,
                    request.method,
                    path,
                    dict(ask.query),
                    symbol,
                    status,
                    kind,
                    duration_ms,
                )
            )
        return response

    async def _respond(self, visit: _Visit) -> web.StreamResponse:
        mood = visit.mood
        if mood is not None and mood.kind is not Kind.TRICKLE and mood.latency_ms:
            await asyncio.sleep(mood.latency_ms / 1_000)
        if mood is not None and mood.kind is Kind.RESET:
            _reset(visit.request)
            return web.Response(status=200)
        reply = self._reply(visit)
        response = self._headers(visit, reply)
        if mood is not None and mood.kind is Kind.RESET_MID_BODY:
            await _send_slowly(visit.request, response, reply.body[: len(reply.body) // 2], len(reply.body), 0)
            _reset(visit.request)
            return response
        if mood is not None and mood.kind is Kind.TRICKLE:
            await _send_slowly(visit.request, response, reply.body, len(reply.body), mood.latency_ms or _TRICKLE_MS)
            return response
        return web.Response(status=reply.status, body=reply.body, headers=response.headers)

    def _reply(self, visit: _Visit) -> Reply:
        """What the exchange says, after the mood has had its way with it."""
        mood, dialect, ask = visit.mood, visit.dialect, visit.ask
        if mood is not None and (said := _said_instead(mood, dialect, ask)) is not None:
            return said
        if self._simulator.budgets[dialect.exchange].is_exceeded(time.monotonic()):
            return replace(dialect.fault(Fault.RATE_LIMIT, ask.now_ms), headers={"Retry-After": "1"})
        try:
            reply = dialect.answer(ask)
        except RefusedError as refused:
            reply = refused.reply
        if mood is not None and mood.kind is Kind.TRUNCATED:
            return replace(reply, body=reply.body[: len(reply.body) // 2])
        return reply

    def _headers(self, visit: _Visit, reply: Reply) -> web.StreamResponse:
        """The response before its body. Date is the simulated now: collectors may take the exchange's time from it."""
        now_seconds = self._simulator.clock.now_ms() / 1_000
        headers = {"Content-Type": reply.content_type, "Date": formatdate(now_seconds, usegmt=True), **reply.headers}
        if visit.dialect.exchange == "binance":
            used = self._simulator.budgets["binance"].spend(reply.weight, time.monotonic())
            headers |= {"X-MBX-USED-WEIGHT": str(used), "X-MBX-USED-WEIGHT-1M": str(used)}
        if visit.mood is not None and visit.mood.retry_after is not None:
            headers["Retry-After"] = _retry_after(visit.mood, now_seconds)
        return web.StreamResponse(status=reply.status, headers=headers)


def _said_instead(mood: Mood, dialect: Dialect, ask: Ask) -> Reply | None:
    """The reply of a mood that keeps the exchange from answering; None when the mood lets it answer."""
    match mood.kind:
        case Kind.RATE_LIMIT | Kind.BAN | Kind.MAINTENANCE:
            reply = dialect.fault(Fault(mood.kind.value), ask.now_ms)
        case Kind.ERROR:
            reply = as_text(f"error {mood.status}", mood.status)
        case Kind.HTML:
            reply = html_page()
        case Kind.EMPTY:
            reply = Reply(200, b"")
        case Kind.LATENCY | Kind.TRUNCATED | Kind.RESET | Kind.RESET_MID_BODY | Kind.NO_CANDLES | Kind.MALFORMED:
            return None
        case Kind.TRICKLE:
            return None
        case _:
            assert_never(mood.kind)
    body = reply.body if mood.body is None else mood.body.encode()
    return replace(reply, body=body, content_type=mood.content_type or reply.content_type)


def _retry_after(mood: Mood, now_seconds: float) -> str:
    seconds = mood.retry_after or 0
    if mood.retry_after_form == "date":
        return formatdate(now_seconds + seconds, usegmt=True)
    return f"{seconds:g}"


async def _send_slowly(
    request: web.Request, response: web.StreamResponse, body: bytes, promised: int, over_ms: int
) -> None:
    """Send `body` in drips over the time, under a Content-Length of `promised`."""
    response.content_length = promised
    await response.prepare(request)
    drip = max(1, len(body) // _DRIPS)
    for at in range(0, len(body), drip):
        await asyncio.sleep(over_ms / 1_000 / _DRIPS)
        await response.write(body[at : at + drip])
    if len(body) == promised:
        await response.write_eof()


def _reset(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
