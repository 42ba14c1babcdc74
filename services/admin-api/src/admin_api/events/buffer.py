"""The latest events, in the order in which this process read them, bounded in number and size.

An event stream keeps only a sequence number and has no queue, so a slow stream costs no memory. If the buffer has
dropped events that the stream needs, the stream sends a reset.
"""

from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Final

from admin_api.events.positions import Positions
from admin_api.events.topics import Kind, Partition, StreamedEvent

MAX_EVENTS: Final = 20_000
MAX_CHARACTERS: Final = 16_000_000


class EventBuffer:
    """The buffer. Call `start` before the first read."""

    def __init__(self, max_events: int = MAX_EVENTS, max_characters: int = MAX_CHARACTERS) -> None:
        self._max_events, self._max_characters = max_events, max_characters
        self._events: deque[StreamedEvent] = deque()
        self._characters = 0
        self._first_number = 0
        self._start_positions: Positions = {}
        self._end_positions: Positions = {}
        self._latest_ms = 0
        self._exchanges: dict[str, StreamedEvent] = {}

    @property
    def is_started(self) -> bool:
        return bool(self._end_positions)

    @property
    def first_number(self) -> int:
        """The sequence number of the oldest event in the buffer."""
        return self._first_number

    @property
    def next_number(self) -> int:
        """The sequence number of the next event."""
        return self._first_number + len(self._events)

    @property
    def positions(self) -> Positions:
        """For each partition, the offset of the next message to read."""
        return dict(self._end_positions)

    @property
    def latest_ms(self) -> int:
        """The largest timestamp of all events that were read."""
        return self._latest_ms

    @property
    def exchanges(self) -> list[StreamedEvent]:
        """The newest event of each exchange, no matter how old it is."""
        return list(self._exchanges.values())

    def start(self, positions: Mapping[Partition, int]) -> None:
        """Drop all events; the next event of each partition has this offset or a later one.

        A restart skips one sequence number. So a stream that had read everything also sees that it missed something.
        """
        self._first_number = self.next_number + 1 if self.is_started else 0
        self._events.clear()
        self._characters = 0
        self._start_positions, self._end_positions = dict(positions), dict(positions)

    def advance(self, partition: Partition, offset: int) -> None:
        """Move the position behind a message that is not an event for streams."""
        self._end_positions[partition] = offset + 1

    def add(self, event: StreamedEvent) -> None:
        self.advance(event.partition, event.offset)
        self._latest_ms = max(self._latest_ms, event.timestamp_ms)
        self._events.append(event)
        self._characters += len(event.data)
        if event.kind is Kind.EXCHANGE and event.exchange is not None:
            self._exchanges[event.exchange] = event
        while len(self._events) > self._max_events or self._characters > self._max_characters:
            dropped = self._events.popleft()
            self._characters -= len(dropped.data)
            self._start_positions[dropped.partition] = dropped.offset + 1
            self._first_number += 1

    def read(self, number: int, limit: int) -> list[StreamedEvent] | None:
        """At most `limit` events from this sequence number on; None if some of them have been dropped."""
        if number < self._first_number:
            return None
        start = number - self._first_number
        return list(islice(self._events, start, start + limit))

    def holds_all_after(self, positions: Mapping[Partition, int], latest_ms: int) -> bool:
        """Whether this buffer has every event that a client with these positions has not seen.

        An event before the positions cannot be newer than all events that the client has seen. If it is newer, its
        topic was created again, and the positions belong to the earlier topic.
        """
        return all(positions[partition] >= start for partition, start in self._start_positions.items()) and not any(
            event.offset < positions[event.partition] and event.timestamp_ms > latest_ms for event in self._events
        )

    def has_read(self, positions: Mapping[Partition, int]) -> bool:
        """Whether this process has read at least as far as these positions."""
        return all(positions[partition] <= end for partition, end in self._end_positions.items())
