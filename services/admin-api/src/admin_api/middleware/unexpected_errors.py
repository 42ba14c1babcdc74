"""What no handler expected becomes a problem too, inside of the middleware that gives every answer its headers."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_api.http.problems import INTERNAL_ERROR, problem_response
from runtime.logs import log


class UnexpectedErrorMiddleware:
    """Middleware. Nothing of the error leaves the process; the log has it, under the request's id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = False

        async def watched(message: Message) -> None:
            nonlocal began
            began = began or message["type"] == "http.response.start"
            await send(message)

        try:
            return await self._app(scope, receive, watched)
        except Exception:  # the last resort, which is why it names no class
            log.exception("A request failed unexpectedly", action="request_failed", path=scope["path"])
            if began:
                raise  # the connection breaks off, which is all that can still be said
            status, slug, title = INTERNAL_ERROR
            answer = problem_response(
                status=status,
                slug=slug,
                title=title,
                detail="This is a fault of the service, not of the request; its log has the details.",
                instance=scope["path"],
            )
        return await answer(scope, receive, send)
