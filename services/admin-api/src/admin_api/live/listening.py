"""One listener: what it asked for, where it is, and the server-sent events that it gets."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from fastapi.sse import ServerSentEvent

from admin_api.errors import FieldError, InvalidInput, TooManyListeners
from admin_api.live.feed import LiveFeed
from admin_api.live.positions import NotAPosition, Positions, decode, encode
from admin_api.live.topics import Kind, LiveEvent
from admin_api.metrics import Metrics

KEEP_ALIVE_SECONDS: Final = 10.0
RETRY_MILLISECONDS: Final = 2000
_BATCH: Final = 200
_TRY_AGAIN_SECONDS: Final = 5


@dataclass(frozen=True, kw_only=True)
class Interest:
    """What a listener wants; None means all."""

    kinds: frozenset[Kind] | None = None
    exchange: str | None = None
    config_id: int | None = None

    def covers(self, event: LiveEvent) -> bool:
        if self.kinds is not None and event.kind not in self.kinds:
            return False
        if self.exchange is not None and event.exchange not in {self.exchange, None}:
            return False
        return self.config_id is None or event.config_id == self.config_id


class Listeners:
    """Admits so many at once and no more: each holds a connection."""

    def __init__(self, feed: LiveFeed, metrics: Metrics, most: int) -> None:
        self._feed, self._metrics, self._most = feed, metrics, most
        self.count = 0

    @contextmanager
    def admitted(
        self, interest: Interest, last_event_id: str | None, clock: Callable[[], float] = time.monotonic
    ) -> Iterator["Listening"]:
        """Raises `InvalidInput` where the id is none of ours, and `TooManyListeners`."""
        since = _positions(last_event_id)
        if self.count >= self._most:
            raise TooManyListeners(
                f"This instance serves {self._most} listeners already; try again, or raise LIVE_MAX_LISTENERS.",
                headers={"Retry-After": str(_TRY_AGAIN_SECONDS)},
            )
        self.count += 1
        self._metrics.live_listeners.set(self.count)
        try:
            yield Listening(self._feed, self._metrics, interest, since, clock)
        finally:
            self.count -= 1
            self._metrics.live_listeners.set(self.count)


class Listening:
    """The stream of one connection."""

    def __init__(
        self,
        feed: LiveFeed,
        metrics: Metrics,
        interest: Interest,
        since: tuple[Positions, int] | None,
        clock: Callable[[], float],
    ) -> None:
        self._feed, self._metrics, self._interest, self._since, self._clock = feed, metrics, interest, since, clock
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
            found = self._feed.ring.since(self._number, _BATCH)
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
        ring = self._feed.ring
        if not ring.has_begun:
            return None
        if self._since is None or ring.has_read(self._since[0]):
            return True
        return await self._feed.reach(self._since[0])

    def _over(self, ends_at: float) -> bool:
        return self._feed.is_stopping or self._clock() >= ends_at

    def _enter(self, *, exists: bool) -> Iterator[ServerSentEvent]:
        ring = self._feed.ring
        if self._since is None:
            yield from self._from_now()
        elif not exists:
            yield from self._start_over("the id is ahead of the events, or a topic in Kafka was created again")
        elif ring.holds_all_since(*self._since):
            self._number, (self._positions, self._latest_ms) = ring.first, self._since
        else:
            yield from self._start_over(
                "more has happened since then than is kept for listeners, or a topic in Kafka was created again"
            )

    def _start_over(self, why: str) -> Iterator[ServerSentEvent]:
        self._metrics.live_resets.inc()
        yield ServerSentEvent(event="reset", data={"reason": f"{why}: read the state again, then go on from here"})
        yield from self._from_now()

    def _from_now(self) -> Iterator[ServerSentEvent]:
        """How every exchange fares can be had nowhere else, so it comes first."""
        ring = self._feed.ring
        self._number, self._positions, self._latest_ms = ring.end, ring.positions, ring.latest_ms
        here = self._here()
        yield ServerSentEvent(comment="from here", id=here)
        for event in ring.exchanges:
            if self._interest.covers(event):
                yield _sent(event, here)

    def _wanted(self, found: list[LiveEvent]) -> Iterator[ServerSentEvent]:
        for event in found:
            self._number += 1
            if event.offset < self._positions[event.place]:
                continue  # seen at another instance
            self._positions[event.place] = event.offset + 1
            self._latest_ms = max(self._latest_ms, event.timestamp_ms)
            if self._interest.covers(event):
                yield _sent(event, self._here())

    def _here(self) -> str:
        return encode(self._positions, self._latest_ms)


def _sent(event: LiveEvent, position: str) -> ServerSentEvent:
    return ServerSentEvent(event=event.kind, id=position, raw_data=event.data)


def _positions(last_event_id: str | None) -> tuple[Positions, int] | None:
    if not last_event_id:
        return None
    try:
        return decode(last_event_id)
    except NotAPosition as error:
        wrong = f"is no id of an event of this API ({error}); leave it out to listen from now on"
        raise InvalidInput.of([FieldError("#/last-event-id", wrong, where="header")]) from error
