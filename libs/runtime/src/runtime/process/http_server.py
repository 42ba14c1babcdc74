"""Runs uvicorn in the event loop of the worker. The worker, not uvicorn, handles signals and ends the process."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import uvicorn
from typing_extensions import override

from runtime.process.http_protocol import LimitedProtocol

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application: scope, receive, send."""


class PortTaken(Exception):  # noqa: N818 -- the name states the problem
    """Another process listens on the port, or this process has no permission to."""


ABORT: Final = "candlekeep.abort"
"""The name of an ASGI extension: a function that closes the connection at once and drops the unsent data."""

KEEP_ALIVE_SECONDS: Final = 75
"""How long an idle connection stays open. This is longer than the 60 seconds of most load balancers and the 5 seconds
of httpx, so that the client closes the connection first. Otherwise a request could be lost that arrives while the
server closes the connection.
"""
_ACCEPTED_AT_ONCE: Final = 16
"""The number of listeners. In one turn of the event loop, uvloop accepts one connection per listener. With a single
listener, the last of many new connections would wait for many turns.
"""
_STALLED_SECONDS: Final = 30.0
_MIN_BYTES: Final = 16 * 1024


async def abort_connection(scope: Any, receive: Callable[[], Awaitable[Any]]) -> None:
    """Close the connection of a request whose response cannot be completed. Returns when it is closed.

    A normal close would wait until the client has read everything, so a client that never reads would keep it open.
    """
    abort = scope.get("extensions", {}).get(ABORT)
    if abort is not None:
        abort()
        while (await receive())["type"] != "http.disconnect":
            pass


class _Protocol(LimitedProtocol):
    """Adds the extension `ABORT`. Aborts a connection if unsent data waits and the client reads less than `_MIN_BYTES`
    in `_STALLED_SECONDS`. Otherwise such a client would keep the connection and the rest of its response in memory
    indefinitely.
    """

    _check: asyncio.TimerHandle | None = None
    _waiting_bytes = 0

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app: Any = self.app

        async def with_abort(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("extensions", {})[ABORT] = transport.abort
            await app(scope, receive, send)

        self.app = with_abort

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._end_check()
        super().connection_lost(exc)

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._begin_check()

    @override
    def resume_writing(self) -> None:
        self._end_check()
        super().resume_writing()

    def _begin_check(self) -> None:
        self._waiting_bytes = self.transport.get_write_buffer_size()
        self._check = self.loop.call_later(_STALLED_SECONDS, self._abort_if_stalled)

    def _end_check(self) -> None:
        if self._check is not None:
            self._check.cancel()

    def _abort_if_stalled(self) -> None:
        if self.transport.get_write_buffer_size() > self._waiting_bytes - _MIN_BYTES:
            self.transport.abort()
        else:
            self._begin_check()


class _Server(uvicorn.Server):
    @contextmanager
    @override
    def capture_signals(self) -> Iterator[None]:
        """Do not handle signals: uvicorn would raise them again at its end, and the exit code would not be 0."""
        yield


@asynccontextmanager
async def http_server(
    app: AsgiApp, host: str, port: int, drain_seconds: Callable[[], int] = lambda: 3
) -> AsyncIterator[int]:
    """Serve an ASGI app while the block runs. Yields the port, which the system chooses if `port` is 0.

    At the end no new connection is accepted, and `drain_seconds()` is called. Requests in flight have this number of
    seconds to be answered; after that they are cancelled. Raises `PortTaken`.
    """
    listener = _listen(host, port)
    config = uvicorn.Config(
        app,
        http=_Protocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # uvicorn would trust X-Forwarded-For from every client on this machine
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    server = _Server(config)
    listeners = [listener, *(listener.dup() for _ in range(_ACCEPTED_AT_ONCE - 1))]
    serving = asyncio.create_task(server.serve(sockets=listeners), name="http")
    try:
        yield listener.getsockname()[1]
    finally:
        config.timeout_graceful_shutdown = drain_seconds()
        server.should_exit = True
        await serving


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise PortTaken(
            f"Cannot listen on {host}:{port}: {error.strerror}. Set HTTP_PORT or HTTP_HOST to another value."
        ) from error
