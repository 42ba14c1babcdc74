import base64

import pytest

from runtime import dead_letters
from runtime.dead_letters import TooManyDeadLetters, dead_letter
from support.consuming import NOON
from support.records import KeptLetters, a_record


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


def test_a_tombstone_stays_a_null_value() -> None:
    assert dead_letter(a_record(value=None), "null", 1, "collector", NOON).source_value is None


async def test_a_dead_letter_that_kafka_does_not_take_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "_FIRST_PAUSE_SECONDS", 0.0)
    kept = KeptLetters(refusals=2)
    await kept.send(a_record(), "unreadable")
    assert len(kept.letters) == 1
    labels = {"consumer": "log-writer", "topic": "ticks"}
    assert kept.registry.get_sample_value("candlekeep_dead_letters_total", labels) == 1


async def test_a_few_dead_letters_among_many_messages_never_stop_a_consumer() -> None:
    kept = KeptLetters()
    for _ in range(300):
        kept.handled(9)
        await kept.send(a_record(), "unreadable")
    assert len(kept.letters) == 300


async def test_too_large_a_share_stops_before_the_next_is_put_aside() -> None:
    kept = KeptLetters()
    for _ in range(50):
        await kept.send(a_record(), "unreadable")
    with pytest.raises(TooManyDeadLetters, match=r"51 of the last 51 messages; last error: unreadable"):
        await kept.send(a_record(), "unreadable")
    assert len(kept.letters) == 50
