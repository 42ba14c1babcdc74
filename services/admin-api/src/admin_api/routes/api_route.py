"""The classes of the routes. They do the work that must happen before FastAPI parses the body."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message, Receive, Scope, Send
from typing_extensions import override

from admin_api.auth.required_roles import check_roles
from admin_api.http.background_work import in_background
from admin_api.http.caller_places import leave_place
from admin_api.http.expensive_requests import ExpensiveRequests
from admin_api.http.json_text import parse_json
from admin_api.routes.dependencies import Provided
from admin_api.writes.actors import Actor

EXPENSIVE_REQUESTS: Final = Provided[ExpensiveRequests]("limit of expensive requests")
_LARGE_BODY_BYTES: Final = 64 * 1024
"""A body that is larger than this is parsed in a thread, because it would block the event loop."""
_PART_BYTES: Final = 64 * 1024


class _JsonRequest(Request):
    @override
    async def json(self) -> Any:
        """The body, also for a second call. Raises `ValueError`, `RecursionError`."""
        if not hasattr(self, "_parsed"):
            body = await self.body()
            large = len(body) > _LARGE_BODY_BYTES
            self._parsed = await in_background(parse_json, body) if large else parse_json(body)
        return self._parsed


class ApiRoute(APIRoute):
    """A route that checks the role of the caller before it reads the body, and refuses repeated names in JSON."""

    @override
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in (self.methods or ()):
            check_roles(self, scope["state"]["actor"])
        await super().handle(scope, receive, send)

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            return await handler(_JsonRequest(request.scope, request.receive))

        return handle_json


class ExpensiveRoute(ApiRoute):
    """A route whose requests read or write many rows. Their number in progress is limited.

    Sends the response in parts: the server accepts the next part only after the client has read most of the previous
    ones. So a client that does not read keeps its place, and cannot fill the memory.
    """

    @override
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        actor: Actor = scope["state"]["actor"]
        check_roles(self, actor)
        leave_place(scope)
        async with EXPENSIVE_REQUESTS.of(scope["app"]).place(actor.key) as response_begins:

            async def send_in_parts(message: Message) -> None:
                response_begins()
                for part in _parts(message):
                    await send(part)

            await super().handle(scope, receive, send_in_parts)


def _parts(message: Message) -> list[Message]:
    body = message.get("body", b"")
    if len(body) <= _PART_BYTES:
        return [message]
    last = (len(body) - 1) // _PART_BYTES * _PART_BYTES
    return [
        {
            "type": message["type"],
            "body": body[start : start + _PART_BYTES],
            "more_body": start < last or message.get("more_body", False),
        }
        for start in range(0, len(body), _PART_BYTES)
    ]
