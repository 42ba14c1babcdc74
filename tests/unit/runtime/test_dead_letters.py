import base64

import pytest

from contracts.topics import DEAD_LETTERS
from runtime.dead_letters import TooManyDeadLetters, dead_letter, sending
from runtime.kafka.clients import MAX_MESSAGE_BYTES
from runtime.kafka.codec import decode, encode
from support.consuming import NOON
from support.records import InMemoryDeadLetters, a_record


def test_a_dead_letter_contains_all_that_is_needed_to_replay_its_message() -> None:
    record = a_record(
        partition=3, offset=9, key=b"\xff", value=b"{", headers=(("ce_id", b"1"), ("bad", b"\xff"), ("null", None))
    )
    letter = dead_letter(record, "unreadable", 2, "collector", NOON)
    assert (letter.source_topic, letter.source_partition, letter.source_offset) == ("ticks", 3, 9)
    assert base64.b64decode(letter.source_key or "") == b"\xff"
    assert base64.b64decode(letter.source_value or "") == b"{"
    assert letter.source_headers == {"ce_id": "1", "bad": "�", "null": ""}
    assert (letter.attempts, letter.consumer, letter.key()) == (2, "collector", "ticks")
    assert letter.complete


def test_a_tombstone_stays_a_null_value() -> None:
    assert dead_letter(a_record(value=None), "null", 1, "collector", NOON).source_value is None


@pytest.mark.parametrize(
    ("record", "complete"),
    [
        (a_record(value=b"\x00" * 1_000_000), True),
        (a_record(value=b"\x00" * 3_000_000), False),
        (a_record(key=b"\xff" * 3_000_000, value=None), False),
        (a_record(headers=tuple((f"h{number}", b"\x00\xff" * 10_000) for number in range(50))), True),
    ],
    ids=["megabyte", "value too large", "key too large", "headers too large"],
)
def test_a_dead_letter_never_exceeds_the_message_size_of_kafka(record: object, *, complete: bool) -> None:
    letter = dead_letter(record, "\x00" * 100_000, 1, "collector", NOON)
    value, headers = encode(letter)
    assert len(value) + sum(len(name) + len(text) for name, text in headers.items()) < MAX_MESSAGE_BYTES
    assert letter.complete is complete
    assert decode(DEAD_LETTERS, value) == letter


async def test_a_dead_letter_that_kafka_refuses_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_RETRY_INITIAL_WAIT_SECONDS", 0.0)
    consumer = InMemoryDeadLetters(refusals=2)
    await consumer.send_unreadable(a_record(), "unreadable")
    assert len(consumer.letters) == 1
    labels = {"consumer": "log-writer", "topic": "ticks"}
    assert consumer.registry.get_sample_value("candlekeep_dead_letters_total", labels) == 1


async def test_too_many_dead_letters_stop_the_consumer_and_the_message_says_what_to_do() -> None:
    consumer = InMemoryDeadLetters(dead_letters_max_consecutive_at_start=3)
    for _ in range(3):
        await consumer.send_unreadable(a_record(), "unreadable")
    with pytest.raises(TooManyDeadLetters) as stopped:
        await consumer.send_unreadable(a_record(partition=2, offset=7), "no such field")
    assert len(consumer.letters) == 3
    for part in (
        "log-writer stops: the first 4 messages since the start were unreadable",
        "DEAD_LETTERS_MAX_CONSECUTIVE_AT_START",
        "ticks/2/7: no such field",
        "If this release is at fault, deploy one that can read these messages.",
        "inspect them (python -m runtime.dead_letters list), raise the limit until they have been skipped, and restart",
    ):
        assert part in str(stopped.value)


async def test_nothing_is_committed_after_a_limit_is_exceeded() -> None:
    consumer = InMemoryDeadLetters(dead_letters_max_consecutive=3)
    consumer.handled()
    for _ in range(3):
        await consumer.send_unreadable(a_record(), "unreadable")
    assert consumer.may_commit
    stopped = {"consumer": "log-writer"}
    assert consumer.registry.get_sample_value("candlekeep_consumer_stopped", stopped) is None
    with pytest.raises(TooManyDeadLetters):
        await consumer.send_unreadable(a_record(), "unreadable")
    assert not consumer.may_commit
    assert consumer.registry.get_sample_value("candlekeep_consumer_stopped", stopped) == 1


async def test_a_dead_letter_from_before_the_start_counts_and_is_not_stored_again() -> None:
    consumer = InMemoryDeadLetters(dead_letters_max_consecutive_at_start=3)
    for _ in range(3):
        consumer.count_repeated(a_record(), "unreadable", readable=False)
    with pytest.raises(TooManyDeadLetters):
        consumer.count_repeated(a_record(), "unreadable", readable=False)
    assert consumer.letters == []


async def test_nothing_is_committed_while_dead_letters_are_the_only_outcome() -> None:
    consumer = InMemoryDeadLetters()
    assert consumer.may_commit
    await consumer.send_unreadable(a_record(), "unreadable")
    consumer.readable(a_record())
    assert not consumer.may_commit
    consumer.handled()
    assert consumer.may_commit
    await consumer.send_unreadable(a_record(), "unreadable")
    assert consumer.may_commit
