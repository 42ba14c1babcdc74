import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka.structs import OffsetAndTimestamp
from hypothesis import given
from hypothesis import strategies as st

from contracts.dead_letters import DeadLetter
from runtime.dead_letters.reading import start_of
from runtime.dead_letters.replays import REPLAYED_FROM, CannotReplay, once_each, replay_of, sources
from runtime.dead_letters.stored import (
    DeadLetterFilter,
    DeadLetterId,
    StoredDeadLetter,
    as_json,
    description,
    parse_time,
    readable,
    table,
)
from support.consuming import NOON


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def a_letter(place: str = "1-42", **changes: Any) -> StoredDeadLetter:
    values = {
        "occurred_at": NOON,
        "source_topic": "x.ticks",
        "source_partition": 3,
        "source_offset": 17,
        "source_key": encoded(b"binance"),
        "source_value": encoded(b'{"a": 1}'),
        "source_headers": {"ce_id": "1"},
        "error": "not a valid TickDue: run_id: Field required",
        "attempts": 1,
        "consumer": "collector",
    }
    return StoredDeadLetter(DeadLetterId.parse(place), DeadLetter.model_validate(values | changes))


@given(partition=st.integers(0, 10**8), offset=st.integers(0, 10**17))
def test_an_id_names_a_place(partition: int, offset: int) -> None:
    place = DeadLetterId(partition, offset)
    assert DeadLetterId.parse(str(place)) == place


@pytest.mark.parametrize("text", ["", "42", "1-", "-1-2", "1-2-3", "a-b", "1 - 2", "\u0661-2"])
def test_what_is_no_id_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not the id of a dead letter, such as 1-42"):
        DeadLetterId.parse(text)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("90s", NOON - timedelta(seconds=90)),
        ("30m", NOON - timedelta(minutes=30)),
        ("1h", NOON - timedelta(hours=1)),
        (" 7d ", NOON - timedelta(days=7)),
        ("2026-05-04", datetime(2026, 5, 4, tzinfo=UTC)),
        ("2026-05-04T12:00", NOON),
        ("2026-05-04T12:00:00Z", NOON),
        ("2026-05-04T14:00:00+02:00", NOON),
    ],
)
def test_times_are_ages_or_iso_in_utc_unless_they_name_a_zone(text: str, time: datetime) -> None:
    assert parse_time(text, NOON) == time


@pytest.mark.parametrize(
    "text", ["", "yesterday", "1w", "h", "-1h", "99999999999d", "2026-13-01", "0001-01-01T00+14:00"]
)
def test_what_is_no_time_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="is neither a time such as"):
        parse_time(text, NOON)


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (DeadLetterFilter(), True),
        (DeadLetterFilter(topic="ticks", prefix="x."), True),
        (DeadLetterFilter(topic="x.ticks", prefix="x."), True),
        (DeadLetterFilter(topic="ticks", prefix="y."), False),
        (DeadLetterFilter(topic="candles", prefix="x."), False),
        (DeadLetterFilter(since=NOON), True),
        (DeadLetterFilter(since=NOON + timedelta(seconds=1)), False),
        (DeadLetterFilter(until=NOON), False),
        (DeadLetterFilter(until=NOON + timedelta(seconds=1)), True),
    ],
)
def test_letters_are_chosen_by_topic_and_time(wanted: DeadLetterFilter, *, matches: bool) -> None:
    assert wanted.matches(a_letter().letter) is matches


def test_the_table_fits_its_width_and_cuts_only_errors() -> None:
    letters = [a_letter(), a_letter("0-7", error="many\nlines " * 100, consumer="candle-writer", attempts=3)]
    lines = table(letters, 100)
    assert lines[0].split() == ["id", "put", "aside", "(UTC)", "source", "consumer", "tries", "error"]
    assert lines[1].startswith("1-42  2026-05-04 12:00:00  x.ticks/3/17  collector      1      not a valid")
    assert all(len(line) <= 100 for line in lines)
    assert lines[2].endswith("…")
    assert "\n" not in lines[2]


def test_a_message_cannot_command_the_terminal_of_who_reads_about_it() -> None:
    letter = a_letter(error="\x1b[2Jgone", source_value=encoded(b"\x1b]0;title\x07"), source_headers={"\x9b1m": "\x1b"})
    assert not {"\x1b", "\x9b", "\x07"} & set("".join(table([letter], 200)) + description(letter))


def test_the_description_says_everything() -> None:
    assert description(a_letter(attempts=3)).split("\n") == [
        "id         1-42",
        "put aside  2026-05-04 12:00:00 UTC by collector after 3 attempts",
        "source     x.ticks/3/17",
        "error      not a valid TickDue: run_id: Field required",
        "key        binance",
        "header     ce_id: 1",
        "value      {",
        '  "a": 1',
        "}",
    ]


def test_what_was_too_large_to_be_kept_is_said_to_be_at_the_source_only() -> None:
    assert "too large to be kept here" in description(a_letter(complete=False, source_value=None, source_key=None))


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (None, "none (a null, as of a tombstone)"),
        (b'{"a":[1]}', '{\n  "a": [\n    1\n  ]\n}'),
        (b"{broken", "{broken"),
        (b"17", "17"),
        (b"\xff\x00", "2 bytes that are not text: ff 00"),
        (b"\xff" * 900_000, "900000 bytes that are not text: " + " ".join(["ff"] * 64) + " ..."),
        (b"[" * 100_000, "[" * 100_000),
    ],
)
def test_values_are_shown_as_json_text_or_bytes(data: bytes | None, shown: str) -> None:
    assert readable(None if data is None else encoded(data)) == shown


def test_json_holds_the_event_and_the_id() -> None:
    shelved = a_letter()
    content = json.loads(as_json(shelved))
    assert content.pop("id") == "1-42"
    assert DeadLetter.model_validate(content) == shelved.letter


def test_a_replay_is_the_original_message_with_one_header_more() -> None:
    replay = replay_of(a_letter(source_key=encoded(b"\xff"), source_value=None), sources("x."))
    assert (replay.topic, replay.partition, replay.key, replay.value) == ("x.ticks", 3, b"\xff", None)
    assert replay.headers == (("ce_id", b"1"), (REPLAYED_FROM, b"dead-letters/1/42"))


def test_a_message_that_failed_again_names_the_letter_it_was_replayed_from_last() -> None:
    again = a_letter("2-5", source_headers={REPLAYED_FROM: "dead-letters/1/42"})
    assert replay_of(again, sources("x.")).headers == ((REPLAYED_FROM, b"dead-letters/2/5"),)


@pytest.mark.parametrize(
    "changes",
    [
        {"source_topic": "x.dead-letters"},
        {"source_topic": "ticks"},
        {"source_topic": "other"},
        {"source_partition": 24},
        {"complete": False},
        {"source_value": "?"},
        {"source_key": None, "source_value": None},
    ],
)
def test_what_cannot_be_replayed_is_refused_with_its_id(changes: dict[str, Any]) -> None:
    with pytest.raises(CannotReplay, match=r"^1-42: "):
        replay_of(a_letter(**changes), sources("x."))


def test_several_letters_about_one_message_are_one_replay_in_the_order_of_the_first() -> None:
    letters = [a_letter("0-9"), a_letter("0-2"), a_letter("0-3", source_offset=18), a_letter("0-4", consumer="other")]
    assert [str(place) for place in once_each(letters)] == ["0-2", "0-3"]


def test_reading_begins_with_the_first_since_then_or_with_everything_where_the_broker_cannot_tell() -> None:
    first, later = OffsetAndTimestamp(3, 0), OffsetAndTimestamp(5, 9)
    assert start_of(later, first, 3, 8) == 5
    assert start_of(None, first, 3, 8) == 8
    assert start_of(None, None, 3, 8) == 3
