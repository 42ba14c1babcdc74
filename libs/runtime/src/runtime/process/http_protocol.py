"""Limits on the requests that a client sends: their duration, the number of pieces of a body, and the unread bytes that
are discarded.

uvicorn has none of these limits. A client could hold a connection with half a request forever, or use the processor by
sending a body in millions of chunks.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final

import h11
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS: Final = 10.0
"""The time limit in seconds for the request line and the headers."""
BODY_SECONDS: Final = 60.0
"""The time limit in seconds for the whole body. It allows 4 MiB at 0.6 Mbit/s."""
_LINGER_SECONDS: Final = 1.0
"""How long a connection stays open after a refusal. If it were closed while the client still sends, the client could
miss the response.
"""
_MAX_HEADER_BYTES: Final = 16 * 1024
_MAX_SMALL_PIECES: Final = 1000
_PIECE_BYTES: Final = 1024
"""The allowed number of pieces grows by one for each of these bytes of the body. Handling a piece takes as long as
handling a kilobyte.
"""
_MAX_DISCARDED_BYTES: Final = 8 * 1024 * 1024
"""After an early response, at most this number of bytes of the body are read and discarded, so that the client can send
its next request.
"""

_REFUSAL_HEADERS: Final = [
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"connection", b"close"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]
"""The application and its middleware do not see this response, so they cannot add headers to it."""


class _Connection(h11.Connection):
    """A connection of h11. It also raises `h11.RemoteProtocolError` for valid requests that are ambiguous or too
    expensive.
    """

    _pieces = 0
    _bytes = 0
    _discarded = 0

    @override
    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = self._bytes = self._discarded = 0
            names = {name for name, _ in event.headers}
            if {b"transfer-encoding", b"content-length"} <= names:
                # RFC 9112, section 6.3: a proxy may find the end of such a body at another place.
                raise h11.RemoteProtocolError("the request has Transfer-Encoding and Content-Length")
        elif isinstance(event, h11.Data):
            self._count(len(event.data))
        return event

    def _count(self, size: int) -> None:
        self._pieces += 1
        self._bytes += size
        if self._pieces > _MAX_SMALL_PIECES + self._bytes / _PIECE_BYTES:
            raise h11.RemoteProtocolError("the body has too many small pieces")
        if self.our_state is h11.DONE:
            self._discarded += size
            if self._discarded > _MAX_DISCARDED_BYTES:
                raise h11.RemoteProtocolError("the body continues long after the response")


class LimitedProtocol(H11Protocol):
    """Closes the connection of a request that is too slow or not acceptable, with a response if none has begun."""

    _timer: asyncio.TimerHandle | None = None
    _phase: tuple[str, object] | None = None
    """The part of a request that the client is sending; None if it is not sending."""
    _refused = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn = _Connection(h11.SERVER, _MAX_HEADER_BYTES)

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._enter(("headers", None))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._enter(None)
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)
            self._watch()

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    @override
    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def _watch(self) -> None:
        """Start or stop the timer, after the state of the connection may have changed."""
        state = self.conn.their_state
        if self.transport.is_closing() or self._refused:
            self._enter(None)
        elif state is h11.SEND_BODY:
            self._enter(("body", self.cycle))
        elif state is h11.IDLE and self.conn.trailing_data[0]:
            self._enter(("headers", self.cycle))
        elif state is not h11.IDLE or self.cycle is not None:
            self._enter(None)  # uvicorn closes it after the keep-alive timeout

    def _enter(self, phase: tuple[str, object] | None) -> None:
        if phase == self._phase:
            return
        self._phase = phase
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if phase is not None:
            seconds = HEADER_SECONDS if phase[0] == "headers" else BODY_SECONDS
            self._timer = self.loop.call_later(seconds, self._refuse, HTTPStatus.REQUEST_TIMEOUT, "Too slow.")

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.abort()  # a response has begun, so there is no way to report the error
            return
        if self.cycle is not None:
            self.cycle.disconnected = True  # the application can no longer send a response
            self.cycle.message_event.set()
        response = h11.Response(status_code=status, headers=_REFUSAL_HEADERS, reason=status.phrase.encode())
        for event in (response, h11.Data(data=message.encode()), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self._refused = True
        self._enter(None)
        self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)
