"""The last live events, in the order in which this process read them, bounded in number and bytes.

Listeners hold a number into it instead of a queue of their own: a slow one costs nothing, and when what it wants has
been dropped it is told so.
"""

from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Final

from admin_api.events.positions import Positions
from admin_api.events.topics import Kind, Place, StreamedEvent

MAX_EVENTS: Final = 20_000
MAX_CHARACTERS: Final = 16_000_000


class EventBuffer:
    """Nothing can be read before `begin`."""

    def __init__(self, max_events: int = MAX_EVENTS, max_characters: int = MAX_CHARACTERS) -> None:
        self._max_events, self._max_characters = max_events, max_characters
        self._events: deque[StreamedEvent] = deque()
        self._characters = 0
        self._first = 0
        self._base: Positions = {}
        self._end: Positions = {}
        self._latest_ms = 0
        self._exchanges: dict[str, StreamedEvent] = {}

    @property
    def has_begun(self) -> bool:
        return bool(self._end)

    @property
    def first(self) -> int:
        """The number of the oldest event held."""
        return self._first

    @property
    def end(self) -> int:
        """The number that the next event will have."""
        return self._first + len(self._events)

    @property
    def positions(self) -> Positions:
        """Up to where everything has been read."""
        return dict(self._end)

    @property
    def latest_ms(self) -> int:
        """The largest timestamp of the events that were read."""
        return self._latest_ms

    @property
    def exchanges(self) -> list[StreamedEvent]:
        """The newest word on each exchange, however old."""
        return list(self._exchanges.values())

    def begin(self, positions: Mapping[Place, int]) -> None:
        """Forget all; the next event of each place has this offset or a later one.

        One number is left out, so that a listener that had read everything also finds that it missed something.
        """
        self._first = self.end + 1 if self.has_begun else 0
        self._events.clear()
        self._characters = 0
        self._base, self._end = dict(positions), dict(positions)

    def advance(self, place: Place, offset: int) -> None:
        """A message that is not for listeners was read."""
        self._end[place] = offset + 1

    def add(self, event: StreamedEvent) -> None:
        self.advance(event.place, event.offset)
        self._latest_ms = max(self._latest_ms, event.timestamp_ms)
        self._events.append(event)
        self._characters += len(event.data)
        if event.kind is Kind.EXCHANGE and event.exchange is not None:
            self._exchanges[event.exchange] = event
        while len(self._events) > self._max_events or self._characters > self._max_characters:
            dropped = self._events.popleft()
            self._characters -= len(dropped.data)
            self._base[dropped.place] = dropped.offset + 1
            self._first += 1

    def since(self, number: int, most: int) -> list[StreamedEvent] | None:
        """At most so many events from this number on; None when some of them have been dropped."""
        if number < self._first:
            return None
        start = number - self._first
        return list(islice(self._events, start, start + most))

    def holds_all_since(self, positions: Mapping[Place, int], latest_ms: int) -> bool:
        """Whether this buffer has every event that a listener with these positions has not seen.

        An event before the positions that is newer than all that the listener has seen belongs to a topic that was
        created again: the positions are of the earlier topic.
        """
        return all(positions[place] >= base for place, base in self._base.items()) and not any(
            event.offset < positions[event.place] and event.timestamp_ms > latest_ms for event in self._events
        )

    def has_read(self, positions: Mapping[Place, int]) -> bool:
        """Whether these positions are not ahead of what was read here."""
        return all(positions[place] <= end for place, end in self._end.items())
