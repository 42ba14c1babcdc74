"""The outbox: messages for Kafka, written in the transaction of the change and published later by the relay."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.event import Event
from contracts.topics import Topic
from runtime.kafka.codec import encode
from runtime.tracing.spans import headers_of_call
from store.tables import outbox

CHANNEL: Final = "candlekeep_outbox"
"""The Postgres channel that wakes the relay after a commit of any instance, usually within a millisecond."""


@dataclass(frozen=True)
class Announcement:
    """A message for Kafka, already encoded, so that the relay only forwards bytes."""

    topic: str
    key: str
    value: bytes | None
    headers: dict[str, str]


def announcement(topic: Topic, event: Event, *, starts: UUID | None = None) -> Announcement:
    """`starts`: the run that the message starts. The current request is then the first span of its trace."""
    value, headers = encode(event, source="admin-api")
    if starts is not None:
        headers |= headers_of_call(starts)
    return Announcement(topic.name, event.key(), value, headers)


def tombstone(topic: Topic, key: str) -> Announcement:
    return Announcement(topic.name, key, None, {})


async def append(connection: AsyncConnection, announcements: Sequence[Announcement]) -> None:
    """Add rows, in order, to the open transaction, and wake the relay when it commits.

    For one key, the order of ids must be the order of commits. So the caller must hold the row lock of the config or
    backfill, or must have created the row in this transaction.
    """
    if announcements:
        await connection.execute(insert(outbox), [asdict(each) for each in announcements])
        await connection.execute(select(func.pg_notify(CHANNEL, "")))
