import base64

import pytest

from contracts.topics import DEAD_LETTERS
from runtime.dead_letters import TooManyDeadLetters, dead_letter, sending
from runtime.kafka.clients import MAX_MESSAGE_BYTES
from runtime.kafka.codec import decode, encode
from support.consuming import NOON
from support.records import InMemoryDeadLetters, a_record


def test_a_dead_letter_holds_all_that_is_needed_to_replay_its_message() -> None:
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
def test_a_dead_letter_always_fits_into_kafka_or_its_partition_would_wait_for_ever(
    record: object, *, complete: bool
) -> None:
    letter = dead_letter(record, "\x00" * 100_000, 1, "collector", NOON)
    value, headers = encode(letter)
    assert len(value) + sum(len(name) + len(text) for name, text in headers.items()) < MAX_MESSAGE_BYTES
    assert letter.complete is complete
    assert decode(DEAD_LETTERS, value) == letter


async def test_a_dead_letter_that_kafka_does_not_take_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_FIRST_PAUSE_SECONDS", 0.0)
    kept = InMemoryDeadLetters(refusals=2)
    await kept.send_unreadable(a_record(), "unreadable")
    assert len(kept.letters) == 1
    labels = {"consumer": "log-writer", "topic": "ticks"}
    assert kept.registry.get_sample_value("candlekeep_dead_letters_total", labels) == 1


async def test_too_many_stop_before_the_next_is_put_aside_and_the_alert_says_what_to_do() -> None:
    kept = InMemoryDeadLetters(dead_letters_max_consecutive_at_start=3)
    for _ in range(3):
        await kept.send_unreadable(a_record(), "unreadable")
    with pytest.raises(TooManyDeadLetters) as stopped:
        await kept.send_unreadable(a_record(partition=2, offset=7), "no such field")
    assert len(kept.letters) == 3
    for part in (
        "log-writer stops: the first 4 messages since the start were unreadable",
        "DEAD_LETTERS_MAX_CONSECUTIVE_AT_START",
        "ticks/2/7: no such field",
        "python -m runtime.dead_letters list",
    ):
        assert part in str(stopped.value)


async def test_once_there_are_too_many_nothing_is_committed_any_more() -> None:
    kept = InMemoryDeadLetters(dead_letters_max_consecutive=3)
    kept.handled()
    for _ in range(3):
        await kept.send_unreadable(a_record(), "unreadable")
    assert kept.may_commit
    stopped = {"consumer": "log-writer"}
    assert kept.registry.get_sample_value("candlekeep_consumer_stopped", stopped) is None
    with pytest.raises(TooManyDeadLetters):
        await kept.send_unreadable(a_record(), "unreadable")
    assert not kept.may_commit
    assert kept.registry.get_sample_value("candlekeep_consumer_stopped", stopped) == 1


async def test_what_was_put_aside_in_an_earlier_life_counts_but_makes_no_second_letter() -> None:
    kept = InMemoryDeadLetters(dead_letters_max_consecutive_at_start=3)
    for _ in range(3):
        kept.met_again(a_record(), "unreadable", readable=False)
    with pytest.raises(TooManyDeadLetters):
        kept.met_again(a_record(), "unreadable", readable=False)
    assert kept.letters == []


async def test_nothing_may_be_committed_while_all_that_was_done_is_putting_aside() -> None:
    kept = InMemoryDeadLetters()
    assert kept.may_commit
    await kept.send_unreadable(a_record(), "unreadable")
    kept.readable(a_record())
    assert not kept.may_commit
    kept.handled()
    assert kept.may_commit
    await kept.send_unreadable(a_record(), "unreadable")
    assert kept.may_commit
