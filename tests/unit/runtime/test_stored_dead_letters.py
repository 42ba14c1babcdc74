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
from runtime.dead_letters.replays import REPLAYED_FROM, CannotReplay, one_per_message, replay_of, sources
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


def a_dead_letter(text: str = "1-42", **changes: Any) -> StoredDeadLetter:
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
    return StoredDeadLetter(DeadLetterId.parse(text), DeadLetter.model_validate(values | changes))


@given(partition=st.integers(0, 10**8), offset=st.integers(0, 10**17))
def test_an_id_is_parsed_back(partition: int, offset: int) -> None:
    parsed = DeadLetterId(partition, offset)
    assert DeadLetterId.parse(str(parsed)) == parsed


@pytest.mark.parametrize("text", ["", "42", "1-", "-1-2", "1-2-3", "a-b", "1 - 2", "\u0661-2"])
def test_an_invalid_id_is_refused(text: str) -> None:
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
def test_a_time_is_an_age_or_iso_8601_and_utc_by_default(text: str, time: datetime) -> None:
    assert parse_time(text, NOON) == time


@pytest.mark.parametrize(
    "text", ["", "yesterday", "1w", "h", "-1h", "99999999999d", "2026-13-01", "0001-01-01T00+14:00"]
)
def test_an_invalid_time_is_refused(text: str) -> None:
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
def test_dead_letters_are_filtered_by_topic_and_time(wanted: DeadLetterFilter, *, matches: bool) -> None:
    assert wanted.matches(a_dead_letter().letter) is matches


def test_the_table_fits_its_width_and_shortens_only_errors() -> None:
    letters = [a_dead_letter(), a_dead_letter("0-7", error="many\nlines " * 100, consumer="candle-writer", attempts=3)]
    lines = table(letters, 100)
    assert lines[0].split() == ["id", "stored", "(UTC)", "source", "consumer", "tries", "error"]
    assert lines[1].startswith("1-42  2026-05-04 12:00:00  x.ticks/3/17  collector      1      not a valid")
    assert all(len(line) <= 100 for line in lines)
    assert lines[2].endswith("…")
    assert "\n" not in lines[2]


def test_a_message_cannot_control_the_terminal() -> None:
    letter = a_dead_letter(
        error="\x1b[2Jgone", source_value=encoded(b"\x1b]0;title\x07"), source_headers={"\x9b1m": "\x1b"}
    )
    assert not {"\x1b", "\x9b", "\x07"} & set("".join(table([letter], 200)) + description(letter))


def test_the_description_shows_all_fields() -> None:
    assert description(a_dead_letter(attempts=3)).split("\n") == [
        "id         1-42",
        "stored     2026-05-04 12:00:00 UTC by collector after 3 attempts",
        "source     x.ticks/3/17",
        "error      not a valid TickDue: run_id: Field required",
        "key        binance",
        "header     ce_id: 1",
        "value      {",
        '  "a": 1',
        "}",
    ]


def test_the_description_says_if_a_message_was_too_large_to_be_stored() -> None:
    assert "too large to be stored here" in description(
        a_dead_letter(complete=False, source_value=None, source_key=None)
    )


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (None, "none (null, as in a tombstone)"),
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


def test_the_json_contains_the_event_and_the_id() -> None:
    stored = a_dead_letter()
    content = json.loads(as_json(stored))
    assert content.pop("id") == "1-42"
    assert DeadLetter.model_validate(content) == stored.letter


def test_a_replay_is_the_original_message_with_one_additional_header() -> None:
    replay = replay_of(a_dead_letter(source_key=encoded(b"\xff"), source_value=None), sources("x."))
    assert (replay.topic, replay.partition, replay.key, replay.value) == ("x.ticks", 3, b"\xff", None)
    assert replay.headers == (("ce_id", b"1"), (REPLAYED_FROM, b"dead-letters/1/42"))


def test_a_message_that_failed_again_names_its_last_dead_letter() -> None:
    again = a_dead_letter("2-5", source_headers={REPLAYED_FROM: "dead-letters/1/42"})
    assert replay_of(again, sources("x.")).headers == ((REPLAYED_FROM, b"dead-letters/2/5"),)


@pytest.mark.parametrize(
    "changes",
    [
        {"source_topic": "x.dead-letters"},
        {"source_topic": "ticks"},
        {"source_topic": "other"},
        {"source_partition": 24},
        {"complete": False},
        {"source_value": "A"},
        {"source_key": None, "source_value": None},
    ],
)
def test_a_dead_letter_that_cannot_be_replayed_is_refused_with_its_id(changes: dict[str, Any]) -> None:
    with pytest.raises(CannotReplay, match=r"^1-42: "):
        replay_of(a_dead_letter(**changes), sources("x."))


def test_several_dead_letters_of_one_message_are_one_replay_in_the_order_of_the_first() -> None:
    letters = [
        a_dead_letter("0-9"),
        a_dead_letter("0-2"),
        a_dead_letter("0-3", source_offset=18),
        a_dead_letter("0-4", consumer="other"),
    ]
    assert [str(each) for each in one_per_message(letters)] == ["0-2", "0-3"]


def test_reading_starts_at_the_given_time_or_at_the_beginning_if_the_broker_cannot_search_by_time() -> None:
    first, later = OffsetAndTimestamp(3, 0), OffsetAndTimestamp(5, 9)
    assert start_of(later, first, 3, 8) == 5
    assert start_of(None, first, 3, 8) == 8
    assert start_of(None, None, 3, 8) == 3
