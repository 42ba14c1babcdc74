"""Replaces a waiting message by a newer message that includes its work. No I/O.

So the number of waiting messages is bounded by the number of their keys. A consumer can then read a partition to its
end even if no message of one lane finishes.
"""

from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

from aiokafka import ConsumerRecord, TopicPartition

from contracts.event import Event
from runtime.consumers.offset_tracker import PartitionTracker


async def _no_report(_superseded: Event, _newer: Event) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Superseding:
    """The rules of one topic. By default, no message is superseded.

    All functions but `report` are called while messages are read. They must not raise.
    """

    key: Callable[[Event], Hashable | None] = lambda _: None
    """Waiting messages with the same lane and key supersede each other. None: the message is not superseded and
    supersedes none."""
    is_newer: Callable[[Event, Event], bool] = lambda _event, _than: False
    """Whether the first event supersedes the second one. If neither of two events supersedes the other, the message
    that was read first stays.
    """
    merge: Callable[[Event, Event], Event] = lambda newer, _older: newer
    """The first event with the additional work of the second one. If the second one adds no work, the result equals the
    first one. The order of several merges must not matter.
    """
    report: Callable[[Event, Event], Awaitable[None]] = _no_report
    """Report the end of the first event, which the second one superseded. It is called at least once. The message is
    finished when it returns."""


class WaitingMessage(NamedTuple):
    """A message that waits for a place in its lane."""

    tracker: PartitionTracker
    partition: TopicPartition
    record: ConsumerRecord
    event: Event | None
    """The event to handle, if the bytes of the record do not contain it. Bytes take less memory than an event."""
    merged: tuple["WaitingMessage", ...] = ()
    """Superseded messages whose work would be lost in a crash otherwise. They are finished after this one."""


class Superseded(NamedTuple):
    """The message that continues to wait, and the superseded messages that can be reported at once."""

    remaining: WaitingMessage
    event: Event
    """The event of `remaining` before the merge."""
    ended: tuple[tuple[WaitingMessage, Event], ...]


def supersede(
    waiting: WaitingMessage,
    arrived: WaitingMessage,
    arrived_event: Event,
    rules: Superseding,
    read: Callable[[ConsumerRecord], Event],
) -> Superseded:
    """Let the newer of two messages with the same key replace the other one. `read` decodes the value of a record.

    A crash loses the merged event. So a superseded message may end at once only if the remaining messages in Kafka
    contain all of its work. Otherwise it is added to `merged`. This list stays short, because it contains no other
    messages.
    """
    waiting_event = read(waiting.record)
    newer, event, older, older_event = waiting, waiting_event, arrived, arrived_event
    if rules.is_newer(arrived_event, waiting_event):
        newer, event, older, older_event = arrived, arrived_event, waiting, waiting_event
    candidates = [(each, read(each.record)) for each in (*newer.merged, *older.merged)]
    candidates.append((older._replace(event=None, merged=()), older_event))

    def merge(messages: Iterable[tuple[WaitingMessage, Event]]) -> Event:
        return reduce(rules.merge, (each for _, each in messages), event)

    complete, needed = merge(candidates), candidates
    for candidate in candidates:
        others = [each for each in needed if each is not candidate]
        if merge(others) == complete:
            needed = others
    ended = tuple(candidate for candidate in candidates if not any(candidate is each for each in needed))
    merged = tuple(message for message, _ in needed)
    return Superseded(newer._replace(event=complete if merged else None, merged=merged), event, ended)
