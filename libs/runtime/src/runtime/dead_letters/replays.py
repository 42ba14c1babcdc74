"""Builds the message that a replay of a dead letter publishes. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from contracts.topics import ALL_TOPICS, DEAD_LETTERS, Topic
from runtime.dead_letters.stored import DeadLetterId, StoredDeadLetter, decoded

REPLAYED_FROM = "ck_replayed_from"


class CannotReplay(Exception):  # noqa: N818 -- the name states the problem
    """The dead letter contains no message that can be published again. The error message gives the reason."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The original message with one additional header."""

    topic: str
    partition: int
    """The original partition. It is kept, because the producer of the message may assign keys to partitions in another
    way.
    """
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def sources(prefix: str) -> dict[str, Topic]:
    """The topics that a replay may publish to, by their names in Kafka."""
    return {prefix + topic.name: topic for topic in ALL_TOPICS if topic is not DEAD_LETTERS}


def replay_of(stored: StoredDeadLetter, allowed: Mapping[str, Topic]) -> Replay:
    """The message to publish. Raises `CannotReplay`."""
    letter = stored.letter
    topic = allowed.get(letter.source_topic)
    if topic is None or letter.source_partition >= topic.partitions:
        raise CannotReplay(f"{stored.id}: {stored.source} is not in a topic of this system")
    if not letter.complete:
        raise CannotReplay(f"{stored.id}: the message was too large to be stored; it is only at {stored.source}")
    try:
        key, value = decoded(letter.source_key), decoded(letter.source_value)
    except ValueError as error:
        raise CannotReplay(f"{stored.id}: the stored key or value is not base64") from error
    if key is None and value is None:
        raise CannotReplay(f"{stored.id}: a message without key and value cannot be published")
    replayed_from = f"{DEAD_LETTERS.name}/{stored.id.partition}/{stored.id.offset}"
    headers = letter.source_headers | {REPLAYED_FROM: replayed_from}
    return Replay(
        topic=letter.source_topic,
        partition=letter.source_partition,
        key=key,
        value=value,
        headers=tuple((name, text.encode()) for name, text in headers.items()),
    )


def one_per_message(dead_letters: Iterable[StoredDeadLetter]) -> list[DeadLetterId]:
    """The ids to replay, in order. After a restart, or from several consumers, a message may have several dead letters:
    only the first one is replayed.
    """
    first: dict[str, DeadLetterId] = {}
    for each in sorted(dead_letters, key=lambda each: each.id):
        first.setdefault(each.source, each.id)
    return list(first.values())
