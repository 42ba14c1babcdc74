"""uvicorn inside the event loop of the worker. Signals and the end of the process stay with the worker."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from typing_extensions import override

from runtime.process.http_protocol import LimitedProtocol

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application: scope, receive, send."""


class PortTaken(Exception):  # noqa: N818 -- the name states the problem
    """Another process listens on the port, or this process has no permission to."""


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
        http=LimitedProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # uvicorn would trust X-Forwarded-For from every client on this machine
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
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
