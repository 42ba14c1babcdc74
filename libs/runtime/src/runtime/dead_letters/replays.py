"""What is published again when a dead letter is replayed. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from contracts.topics import ALL_TOPICS, DEAD_LETTERS, Topic
from runtime.dead_letters.stored import DeadLetterId, StoredDeadLetter, decoded

REPLAYED_FROM = "ck_replayed_from"


class CannotReplay(Exception):  # noqa: N818 -- it names what cannot be done
    """This letter does not hold a message that could be published again; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The original message, but for one header more."""

    topic: str
    partition: int
    """The one it came from: a foreign producer may have had another way from key to partition."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def sources(prefix: str) -> dict[str, Topic]:
    """The topics that may be published to, by their names on the cluster."""
    return {prefix + topic.name: topic for topic in ALL_TOPICS if topic is not DEAD_LETTERS}


def replay_of(shelved: StoredDeadLetter, allowed: Mapping[str, Topic]) -> Replay:
    """What to publish. Raises `CannotReplay`."""
    letter = shelved.letter
    topic = allowed.get(letter.source_topic)
    if topic is None or letter.source_partition >= topic.partitions:
        raise CannotReplay(f"{shelved.place}: {shelved.source} is no place in a topic of this system")
    if not letter.complete:
        raise CannotReplay(f"{shelved.place}: the message was too large to be kept; it is at {shelved.source} only")
    try:
        key, value = decoded(letter.source_key), decoded(letter.source_value)
    except ValueError as error:
        raise CannotReplay(f"{shelved.place}: what it holds is not base64") from error
    if key is None and value is None:
        raise CannotReplay(f"{shelved.place}: a message without key and value cannot be published")
    here = f"{DEAD_LETTERS.name}/{shelved.place.partition}/{shelved.place.offset}"
    headers = letter.source_headers | {REPLAYED_FROM: here}
    return Replay(
        topic=letter.source_topic,
        partition=letter.source_partition,
        key=key,
        value=value,
        headers=tuple((name, text.encode()) for name, text in headers.items()),
    )


def once_each(letters: Iterable[StoredDeadLetter]) -> list[DeadLetterId]:
    """The places to replay, in order, one per message: after a restart or from several consumers there may be several
    letters about the same one.
    """
    first: dict[str, DeadLetterId] = {}
    for each in sorted(letters, key=lambda each: each.place):
        first.setdefault(each.source, each.place)
    return list(first.values())
