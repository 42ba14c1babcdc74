"""The HTTP response of an event stream. It ends in time even if its client has stopped reading."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Final

from fastapi.sse import ServerSentEvent, format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from admin_api.events.stream import EventStream
from admin_api.http.caller_places import leave_place
from runtime.process.http_server import abort_connection

_GRACE_SECONDS: Final = 1.0
"""How long a stream may take to end by itself."""


class EventStreamResponse(StreamingResponse):
    """The response of an event stream. FastAPI's own response for server-sent events is not used. It puts two tasks and
    two queues between the stream and the client, which fail if a client disconnects during a send. It would also send a
    second keep-alive.
    """

    media_type = "text/event-stream"

    def __init__(self, event_stream: EventStream, seconds: float) -> None:
        super().__init__(_encoded(event_stream.events(seconds)), headers={"X-Accel-Buffering": "no"})
        self._event_stream, self._seconds = event_stream, seconds

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leave_place(scope)
        sending = asyncio.create_task(super().__call__(scope, receive, send))
        overdue = asyncio.create_task(self._wait_until_overdue())
        try:
            await asyncio.wait([sending, overdue], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                return sending.result()
        finally:
            for task in (sending, overdue):
                task.cancel()
            await asyncio.wait([sending, overdue])
        return await abort_connection(scope, receive)  # a send may wait for a client that does not read

    async def _wait_until_overdue(self) -> None:
        await self._event_stream.wait_for_stop(self._seconds)
        await asyncio.sleep(_GRACE_SECONDS)


async def _encoded(events: AsyncIterator[ServerSentEvent]) -> AsyncIterator[bytes]:
    async for event in events:
        data = json.dumps(event.data) if event.data is not None else event.raw_data
        yield format_sse_event(data_str=data, event=event.event, id=event.id, retry=event.retry, comment=event.comment)
        # a send to a fast client does not wait, but other tasks must be able to run between the events
        await asyncio.sleep(0)
