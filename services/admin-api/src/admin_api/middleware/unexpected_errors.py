"""Errors without a handler are answered with a problem. The outer middleware adds its headers to this response."""

from typing import Final

import anyio
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_api.http.problems import INTERNAL_ERROR, problem_response
from admin_api.http.recorded_paths import recorded_path
from runtime.logs import log

_HANG_UP_ERRORS: Final = (
    ClientDisconnect,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    ConnectionError,
)
"""Raised between the parts of a response whose client hung up."""


class UnexpectedErrorMiddleware:
    """Middleware. The response has no details of the error. The log has them, with the id of the request.

    A client that hangs up is not an error, during any request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        response_started = hung_up = False

        async def note_hang_up() -> Message:
            nonlocal hung_up
            message = await receive()
            hung_up = hung_up or message["type"] == "http.disconnect"
            return message

        async def note_start(message: Message) -> None:
            nonlocal response_started
            response_started = response_started or message["type"] == "http.response.start"
            await send(message)

        try:
            return await self._app(scope, note_hang_up, note_start)
        except Exception as error:  # any error that no handler expects
            if hung_up and _comes_from_hang_up(error):
                log.debug("A client hung up", action="client_hung_up", path=recorded_path(scope))
                return None
            log.exception("A request failed unexpectedly", action="request_failed", path=recorded_path(scope))
            if response_started:
                raise  # the connection is closed, so the client sees that the response is incomplete
            status, slug, title = INTERNAL_ERROR
            answer = problem_response(
                status=status,
                slug=slug,
                title=title,
                detail="This is a fault of the service, not of the request; its log has the details.",
                instance=scope["path"],
            )
        return await answer(scope, receive, send)


def _comes_from_hang_up(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_comes_from_hang_up(each) for each in error.exceptions)
    return isinstance(error, _HANG_UP_ERRORS)
