import json
from datetime import UTC, datetime

import pytest

from contracts.configs import ConfigChanged, ConfigRemoved
from contracts.ticks import TickDue
from contracts.topics import CONFIG_CHANGES, TICKS
from runtime.kafka.codec import UnreadableMessage, decode, encode
from support.consuming import NOON, a_config, a_tick


def test_an_encoded_event_decodes_to_itself() -> None:
    tick = a_tick(7)
    value, headers = encode(tick, "scheduler")
    assert decode(TICKS, value) == tick
    assert headers == {
        "content-type": "application/json",
        "correlation_id": str(tick.event_id),
        "ce_specversion": "1.0",
        "ce_id": str(tick.event_id),
        "ce_type": "TickDue",
        "ce_source": "/candlekeep/scheduler",
        "ce_time": "2026-05-04T12:00:00+00:00",
    }


def test_events_of_a_topic_are_distinguished_by_their_type() -> None:
    changed = ConfigChanged(occurred_at=NOON, config=a_config())
    removed = ConfigRemoved(occurred_at=NOON, config_id=1, version=2)
    assert [decode(CONFIG_CHANGES, encode(event)[0]) for event in (changed, removed)] == [changed, removed]


def test_fields_of_a_newer_producer_are_ignored() -> None:
    value = encode(a_tick(7))[0].replace(b'{"schema_version"', b'{"new_field":{"a":1},"schema_version"')
    assert b"new_field" in value
    assert decode(TICKS, value)


def test_a_message_of_an_earlier_schema_version_gets_the_form_of_the_current_one() -> None:
    tick = decode(TICKS, of_version_1(window_start="2026-05-04T11:00:30Z"))
    assert isinstance(tick, TickDue)
    assert [(each.timeframe, each.anchor) for each in tick.progress] == [
        ("1m", datetime(2026, 5, 4, 10, 59, tzinfo=UTC))
    ]


def of_version_1(**fields: str) -> bytes:
    document = a_tick().model_dump(mode="json", exclude={"progress"}) | {"schema_version": 1, **fields}
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (of_version_1(window_start="yesterday"), "not a valid TickDue: Input should be a valid datetime"),
        (of_version_1(window_start="0001-01-01T00:00:00Z"), "not a valid TickDue: Input should be greater"),
        (None, "no value"),
        (b"", "not a valid TickDue"),
        (b"\xff\xfe", "not a valid TickDue"),
        (b"[1,2", "not a valid TickDue"),
        (b"{}", "Field required"),
        (encode(a_tick())[0].replace(b'"deadline_seconds":60', b'"deadline_seconds":-1'), "deadline_seconds"),
        (encode(a_tick())[0].replace(b'"schema_version":2', b'"schema_version":3'), "newer than this program knows"),
        (encode(a_tick())[0].replace(b'"TickDue"', b'"TockDue"'), "type"),
        (
            encode(a_tick())[0].replace(b"2026-05-04T12:00:00Z", b"0001-01-01T00:00:00+14:00"),
            "than or equal to 1970",
        ),
        (encode(a_tick())[0].replace(b"2026-05-04T12:00:00Z", b"9999-12-31T23:59:59-14:00"), "less than 2200"),
        (b"[" * 100_000, "not a valid TickDue"),
    ],
)
def test_any_other_value_is_unreadable_with_a_reason(value: bytes | None, reason: str) -> None:
    with pytest.raises(UnreadableMessage, match=reason):
        decode(TICKS, value)


def test_an_unknown_type_names_the_known_ones() -> None:
    with pytest.raises(UnreadableMessage, match="ConfigChanged or ConfigRemoved"):
        decode(CONFIG_CHANGES, b'{"type":"ConfigForgotten"}')


def test_a_broken_message_does_not_affect_others() -> None:
    first, last = a_tick(1), a_tick(2)
    broken = encode(first)[0] + b"," + encode(first)[0]
    assert decode(TICKS, encode(first)[0]) == first
    with pytest.raises(UnreadableMessage):
        decode(TICKS, broken)
    assert decode(TICKS, encode(last)[0]) == last
