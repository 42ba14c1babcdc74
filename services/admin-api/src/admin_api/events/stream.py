"""One event stream: its filter, its position, and the server-sent events that it sends."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from fastapi.sse import ServerSentEvent

from admin_api.events.feed import EventFeed
from admin_api.events.positions import NotAPosition, Positions, decode, encode
from admin_api.events.topics import Kind, StreamedEvent
from admin_api.http.errors import FieldError, InvalidInput, TooManyEventStreams, TooManyRequests
from admin_api.metrics import Metrics

KEEP_ALIVE_SECONDS: Final = 10.0
RETRY_MILLISECONDS: Final = 2000
_BATCH: Final = 200
_RETRY_AFTER_SECONDS: Final = 5


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """The events that a client requests. A field that is None does not restrict them."""

    kinds: frozenset[Kind] | None = None
    exchange: str | None = None
    config_id: int | None = None

    def covers(self, event: StreamedEvent) -> bool:
        if self.kinds is not None and event.kind not in self.kinds:
            return False
        if self.exchange is not None and event.exchange not in {self.exchange, None}:
            return False
        return self.config_id is None or event.config_id == self.config_id


class EventStreams:
    """Limits the number of event streams that are open at once, because each holds a connection. One caller cannot use
    the places of all others.
    """

    def __init__(self, feed: EventFeed, metrics: Metrics, max_streams: int, max_per_caller: int) -> None:
        self._feed, self._metrics = feed, metrics
        self._max_streams = max_streams
        self._max_per_caller = min(max_per_caller, (max_streams + 1) // 2)
        self._open: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """The number of open streams."""
        return self._open.total()

    @contextmanager
    def admitted(
        self,
        caller: str,
        event_filter: EventFilter,
        last_event_id: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Iterator["EventStream"]:
        """`caller` is the key of the actor.

        Raises `InvalidInput` if the id is not an event id of this API, `TooManyRequests` and `TooManyEventStreams`.
        """
        last_seen = _decoded(last_event_id)
        self._require_a_place(caller)
        self._open[caller] += 1
        self._metrics.event_streams_open.set(self.count)
        try:
            yield EventStream(self._feed, self._metrics, event_filter, last_seen, clock)
        finally:
            self._open[caller] -= 1
            self._open += Counter()  # removes callers without streams
            self._metrics.event_streams_open.set(self.count)

    def _require_a_place(self, caller: str) -> None:
        retry_after = {"Retry-After": str(_RETRY_AFTER_SECONDS)}
        if self._open[caller] >= self._max_per_caller:
            raise TooManyRequests(
                f"This caller already has {self._max_per_caller} open event streams at this instance. Close one of "
                "them, or raise MAX_EVENT_STREAMS_PER_CALLER and MAX_EVENT_STREAMS.",
                headers=retry_after,
            )
        if self.count >= self._max_streams:
            raise TooManyEventStreams(
                f"This instance already serves {self._max_streams} event streams. "
                "Try again later, or raise MAX_EVENT_STREAMS.",
                headers=retry_after,
            )


class EventStream:
    """The stream of one connection."""

    def __init__(
        self,
        feed: EventFeed,
        metrics: Metrics,
        event_filter: EventFilter,
        last_seen: tuple[Positions, int] | None,
        clock: Callable[[], float],
    ) -> None:
        self._feed, self._metrics, self._clock = feed, metrics, clock
        self._event_filter, self._last_seen = event_filter, last_seen
        self._positions: Positions = {}
        self._latest_ms = 0
        self._number = 0

    async def wait_for_stop(self, timeout_seconds: float) -> None:
        """Wait until the API stops, at most this long."""
        await self._feed.wait_for_stop(timeout_seconds)

    async def events(self, seconds: float) -> AsyncIterator[ServerSentEvent]:
        """The events of the stream. It ends after `seconds`, or when the API stops. When the client reconnects, its
        credential is checked again.
        """
        ends_at = self._clock() + seconds
        yield ServerSentEvent(comment="connected", retry=RETRY_MILLISECONDS)
        while (exists := await self._last_seen_exists()) is None:
            if self._has_ended(ends_at):
                return
            await self._feed.wait_for_new_events(self._wait_seconds(ends_at))
            yield ServerSentEvent(comment="waiting for Kafka")
        for event in self._resume_or_start(exists=exists):
            yield event
        while not self._has_ended(ends_at):
            found = self._feed.buffer.read(self._number, _BATCH)
            if found is None:
                for event in self._reset("the client read too slowly, or a topic in Kafka was created again"):
                    yield event
                continue
            for event in self._matching(found):
                yield event
            if not found and not await self._feed.wait_for_new_events(self._wait_seconds(ends_at)):
                # The keep-alive has an id. So the position of the client also moves behind events that its filter
                # leaves out, and does not become too old.
                yield ServerSentEvent(comment="keep-alive", id=self._event_id())

    def _wait_seconds(self, ends_at: float) -> float:
        return min(KEEP_ALIVE_SECONDS, max(0.0, ends_at - self._clock()))

    async def _last_seen_exists(self) -> bool | None:
        """Whether Kafka has the events that the client has seen according to its id. None while Kafka does not answer.

        If this instance has not read that far, it compares the id with Kafka, because another instance may be ahead.
        """
        buffer = self._feed.buffer
        if not buffer.is_started:
            return None
        if self._last_seen is None or buffer.has_read(self._last_seen[0]):
            return True
        return await self._feed.kafka_reaches(self._last_seen[0])

    def _has_ended(self, ends_at: float) -> bool:
        return self._feed.is_stopping or self._clock() >= ends_at

    def _resume_or_start(self, *, exists: bool) -> Iterator[ServerSentEvent]:
        buffer = self._feed.buffer
        if self._last_seen is None:
            yield from self._start_at_end()
        elif not exists:
            yield from self._reset("the id is ahead of the events, or a topic in Kafka was created again")
        elif buffer.holds_all_after(*self._last_seen):
            self._number, (self._positions, self._latest_ms) = buffer.first_number, self._last_seen
        else:
            yield from self._reset(
                "the event buffer no longer holds all events since this id, or a topic in Kafka was created again"
            )

    def _reset(self, reason: str) -> Iterator[ServerSentEvent]:
        self._metrics.event_stream_resets.inc()
        yield ServerSentEvent(
            event="reset", data={"reason": f"{reason}: read the state again, then continue with this stream"}
        )
        yield from self._start_at_end()

    def _start_at_end(self) -> Iterator[ServerSentEvent]:
        """Start after the newest event. The states of all exchanges are sent first, because no other endpoint returns
        them.
        """
        buffer = self._feed.buffer
        self._number, self._positions, self._latest_ms = buffer.next_number, buffer.positions, buffer.latest_ms
        event_id = self._event_id()
        yield ServerSentEvent(comment="from here", id=event_id)
        for event in buffer.exchanges:
            if self._event_filter.covers(event):
                yield _server_sent_event(event, event_id)

    def _matching(self, found: list[StreamedEvent]) -> Iterator[ServerSentEvent]:
        for event in found:
            self._number += 1
            if event.offset < self._positions[event.partition]:
                continue  # the client has received it from another instance
            self._positions[event.partition] = event.offset + 1
            self._latest_ms = max(self._latest_ms, event.timestamp_ms)
            if self._event_filter.covers(event):
                yield _server_sent_event(event, self._event_id())

    def _event_id(self) -> str:
        return encode(self._positions, self._latest_ms)


def _server_sent_event(event: StreamedEvent, event_id: str) -> ServerSentEvent:
    return ServerSentEvent(event=event.kind, id=event_id, raw_data=event.data)


def _decoded(last_event_id: str | None) -> tuple[Positions, int] | None:
    if not last_event_id:
        return None
    try:
        return decode(last_event_id)
    except NotAPosition as error:
        detail = f"is not an event id of this API ({error}); leave it out to receive events from now on"
        raise InvalidInput.of([FieldError("#/last-event-id", detail, where="header")]) from error
