"""One listener: what it asked for, where it is, and the server-sent events that it gets."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from fastapi.sse import ServerSentEvent

from admin_api.events.feed import EventFeed
from admin_api.events.positions import NotAPosition, Positions, decode, encode
from admin_api.events.topics import Kind, StreamedEvent
from admin_api.http.errors import FieldError, InvalidInput, TooManyEventStreams
from admin_api.metrics import Metrics

KEEP_ALIVE_SECONDS: Final = 10.0
RETRY_MILLISECONDS: Final = 2000
_BATCH: Final = 200
_TRY_AGAIN_SECONDS: Final = 5


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """What a listener wants; None means all."""

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
    """Admits so many at once and no more: each holds a connection."""

    def __init__(self, feed: EventFeed, metrics: Metrics, most: int) -> None:
        self._feed, self._metrics, self._most = feed, metrics, most
        self.count = 0

    @contextmanager
    def admitted(
        self, event_filter: EventFilter, last_event_id: str | None, clock: Callable[[], float] = time.monotonic
    ) -> Iterator["EventStream"]:
        """Raises `InvalidInput` where the id is none of ours, and `TooManyEventStreams`."""
        since = _positions(last_event_id)
        if self.count >= self._most:
            raise TooManyEventStreams(
                f"This instance serves {self._most} listeners already; try again, or raise MAX_EVENT_STREAMS.",
                headers={"Retry-After": str(_TRY_AGAIN_SECONDS)},
            )
        self.count += 1
        self._metrics.event_streams_open.set(self.count)
        try:
            yield EventStream(self._feed, self._metrics, event_filter, since, clock)
        finally:
            self.count -= 1
            self._metrics.event_streams_open.set(self.count)


class EventStream:
    """The stream of one connection."""

    def __init__(
        self,
        feed: EventFeed,
        metrics: Metrics,
        event_filter: EventFilter,
        since: tuple[Positions, int] | None,
        clock: Callable[[], float],
    ) -> None:
        self._feed, self._metrics, self._event_filter, self._since, self._clock = (
            feed,
            metrics,
            event_filter,
            since,
            clock,
        )
        self._positions: Positions = {}
        self._latest_ms = 0
        self._number = 0

    async def events(self, seconds: float) -> AsyncIterator[ServerSentEvent]:
        """For so long, or until the API stops; then the listener connects again, and is who it is anew."""
        ends_at = self._clock() + seconds
        yield ServerSentEvent(comment="connected", retry=RETRY_MILLISECONDS)
        while (exists := await self._since_exists()) is None:
            if self._over(ends_at):
                return
            await self._feed.news(min(KEEP_ALIVE_SECONDS, max(0.0, ends_at - self._clock())))
            yield ServerSentEvent(comment="waiting for Kafka")
        for event in self._enter(exists=exists):
            yield event
        while not self._over(ends_at):
            found = self._feed.buffer.since(self._number, _BATCH)
            if found is None:
                for event in self._start_over("this connection was too slow, or a topic in Kafka was created again"):
                    yield event
                continue
            for event in self._wanted(found):
                yield event
            if not found and not await self._feed.news(min(KEEP_ALIVE_SECONDS, max(0.0, ends_at - self._clock()))):
                # With an id: what it did not want counts as seen, or it would fall behind without noticing.
                yield ServerSentEvent(comment="keep-alive", id=self._here())

    async def _since_exists(self) -> bool | None:
        """Whether Kafka has the events that the listener says it has seen. None while Kafka does not answer.

        Kafka is asked only if this instance has not read so far: another instance may be ahead of it.
        """
        buffer = self._feed.buffer
        if not buffer.has_begun:
            return None
        if self._since is None or buffer.has_read(self._since[0]):
            return True
        return await self._feed.reach(self._since[0])

    def _over(self, ends_at: float) -> bool:
        return self._feed.is_stopping or self._clock() >= ends_at

    def _enter(self, *, exists: bool) -> Iterator[ServerSentEvent]:
        buffer = self._feed.buffer
        if self._since is None:
            yield from self._from_now()
        elif not exists:
            yield from self._start_over("the id is ahead of the events, or a topic in Kafka was created again")
        elif buffer.holds_all_since(*self._since):
            self._number, (self._positions, self._latest_ms) = buffer.first, self._since
        else:
            yield from self._start_over(
                "more has happened since then than is kept for listeners, or a topic in Kafka was created again"
            )

    def _start_over(self, why: str) -> Iterator[ServerSentEvent]:
        self._metrics.event_stream_resets.inc()
        yield ServerSentEvent(event="reset", data={"reason": f"{why}: read the state again, then go on from here"})
        yield from self._from_now()

    def _from_now(self) -> Iterator[ServerSentEvent]:
        """How every exchange fares can be had nowhere else, so it comes first."""
        buffer = self._feed.buffer
        self._number, self._positions, self._latest_ms = buffer.end, buffer.positions, buffer.latest_ms
        here = self._here()
        yield ServerSentEvent(comment="from here", id=here)
        for event in buffer.exchanges:
            if self._event_filter.covers(event):
                yield _sent(event, here)

    def _wanted(self, found: list[StreamedEvent]) -> Iterator[ServerSentEvent]:
        for event in found:
            self._number += 1
            if event.offset < self._positions[event.place]:
                continue  # seen at another instance
            self._positions[event.place] = event.offset + 1
            self._latest_ms = max(self._latest_ms, event.timestamp_ms)
            if self._event_filter.covers(event):
                yield _sent(event, self._here())

    def _here(self) -> str:
        return encode(self._positions, self._latest_ms)


def _sent(event: StreamedEvent, position: str) -> ServerSentEvent:
    return ServerSentEvent(event=event.kind, id=position, raw_data=event.data)


def _positions(last_event_id: str | None) -> tuple[Positions, int] | None:
    if not last_event_id:
        return None
    try:
        return decode(last_event_id)
    except NotAPosition as error:
        wrong = f"is no id of an event of this API ({error}); leave it out to listen from now on"
        raise InvalidInput.of([FieldError("#/last-event-id", wrong, where="header")]) from error
