"""Announcements on their way to Kafka: appended in the transaction of the change, sent by the relay."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.event import Event
from contracts.topics import Topic
from runtime.kafka.codec import encode
from store.tables import outbox

CHANNEL: Final = "candlekeep_outbox"
"""The relay listens here: it wakes within a millisecond of a commit, whichever instance wrote."""


@dataclass(frozen=True)
class Announcement:
    """A message, encoded when it was decided, so that the relay only forwards bytes."""

    topic: str
    key: str
    value: bytes | None
    headers: dict[str, str]


def announcement(topic: Topic, event: Event) -> Announcement:
    value, headers = encode(event, source="admin-api")
    return Announcement(topic.name, event.key(), value, headers)


def tombstone(topic: Topic, key: str) -> Announcement:
    return Announcement(topic.name, key, None, {})


async def append(connection: AsyncConnection, announcements: Sequence[Announcement]) -> None:
    """Add rows, in order, to the open transaction, and wake the relay when it commits.

    For one key the order of ids must be the order of commits. The caller sees to it by holding the config's row lock,
    or by being the one that creates the row.
    """
    if announcements:
        await connection.execute(insert(outbox), [asdict(each) for each in announcements])
        await connection.execute(select(func.pg_notify(CHANNEL, "")))
