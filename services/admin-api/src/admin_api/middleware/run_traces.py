"""Begins the traces of the runs that a request starts."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_api.http.request_ids import current_request_id
from runtime.tracing.spans import calling


class RunTraceMiddleware:
    """Middleware. A request that starts runs is the first span in the trace of each of them. Other requests are not
    traced. If the caller sends a `traceparent`, the span has a link to it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        with calling(Headers(scope=scope).get("traceparent")) as request:

            async def describe(message: Message) -> None:
                if message["type"] == "http.response.start" and request is not None:
                    route = getattr(scope.get("route"), "path", "unmatched")
                    request.describe(scope["method"], route, message["status"], current_request_id())
                await send(message)

            return await self._app(scope, receive, describe)
