"""HEAD requests are answered on every path that has a GET."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadRequestMiddleware:
    """Middleware: a HEAD request is answered by the route of GET, with the same status and headers and no body.

    A stream ends as soon as its headers are sent. Middleware outside of this one still sees the method HEAD.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return await self._app(scope, receive, send)
        answered = asyncio.Event()
        body_was_read = False

        async def no_body() -> Message:
            nonlocal body_was_read
            if not body_was_read:
                body_was_read = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await answered.wait()
            return {"type": "http.disconnect"}

        async def headers_only(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                answered.set()

        as_get = {**scope, "method": "GET"}
        try:
            return await self._app(as_get, no_body, headers_only)
        finally:  # metrics and the audit log need the route
            scope.update({name: as_get[name] for name in ("route", "path_params") if name in as_get})
