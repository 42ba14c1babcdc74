"""Values at and beyond the limits of the contracts."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from contracts.bounds import (
    END_OF_INSTANTS,
    FIRST_INSTANT,
    MAX_BIGINT,
    MAX_MESSAGE_LENGTH,
    MAX_VERSION_STEP,
    Message,
    is_outdated,
    row_id_of,
    shortened,
)
from contracts.candles import CandlesCollected
from contracts.coverage import to_instant, to_milliseconds
from contracts.event import Event, Instant, event_type
from contracts.topics import ALL_TOPICS
from runtime.kafka.clients import MAX_MESSAGE_BYTES
from runtime.kafka.codec import UnreadableMessage, decode
from support.extreme_values import examples_of, mutants_of

EVENTS = [(topic, event) for topic in ALL_TOPICS for event in topic.events]


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    if isinstance(value, list | tuple):
        return [leaf for each in value for leaf in leaves(each)]
    return [value]


def is_within_limits(leaf: Any) -> bool:
    if isinstance(leaf, datetime):
        return FIRST_INSTANT <= leaf < END_OF_INSTANTS
    if isinstance(leaf, bool) or leaf is None:
        return True
    if isinstance(leaf, int):
        return -1 <= leaf <= MAX_BIGINT
    if isinstance(leaf, float):
        return leaf - leaf == 0
    if isinstance(leaf, str):
        return len(leaf) <= 2_000_000 and "\0" not in leaf and leaf.encode().decode() == leaf
    return True


@pytest.mark.parametrize(("topic", "event"), EVENTS, ids=lambda each: getattr(each, "name", "") or event_type(each))
def test_each_value_that_a_contract_accepts_is_within_the_limits_and_survives_json(
    topic: Any, event: type[Event]
) -> None:
    accepted = refused = 0
    for mutant in mutants_of(event):
        try:
            read = decode(topic, mutant.message)
        except UnreadableMessage:
            refused += 1
            continue
        accepted += 1
        assert all(map(is_within_limits, leaves(read.model_dump()))), mutant.name
        assert decode(topic, read.model_dump_json().encode()) == read, mutant.name
        assert len(read.model_dump_json()) < MAX_MESSAGE_BYTES, mutant.name
    assert accepted > 10
    assert refused > accepted, "most extreme values are refused"


@pytest.mark.parametrize(("topic", "event"), EVENTS, ids=lambda each: getattr(each, "name", "") or event_type(each))
def test_each_text_and_each_list_has_a_limit(topic: Any, event: type[Event]) -> None:
    """A value that grows to twice the size of a message is refused, so it has a limit."""
    unlimited = {"source_key", "source_value", "source_headers"}  # base64 of a message that Kafka has accepted
    for example in examples_of(event):
        for name, value in example.items():
            if name in unlimited or name not in event.model_fields or not isinstance(value, str | list) or not value:
                continue
            repetitions = 2 * MAX_MESSAGE_BYTES // len(json.dumps(value)) + 1
            with pytest.raises(UnreadableMessage):
                decode(topic, json.dumps(example | {name: value * repetitions}).encode())


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(-timedelta(hours=14))])))
def test_an_instant_is_accepted_exactly_within_its_limits(instant: datetime) -> None:
    is_valid = FIRST_INSTANT <= instant < END_OF_INSTANTS
    try:
        accepted = TypeAdapter(Instant).validate_python(instant)
    except ValidationError:
        assert not is_valid
    else:
        assert is_valid
        assert accepted == instant


@given(st.text(max_size=50))
def test_a_text_of_an_exchange_is_stored_without_the_characters_that_postgres_refuses(text: str) -> None:
    stored = TypeAdapter(Message).validate_python(text)
    assert "\0" not in stored
    assert stored.encode().decode() == stored
    assert len(stored) == len(text)
    assert TypeAdapter(Message).validate_json(json.dumps(stored)) == stored


@given(st.integers(1, 60_000), st.text(max_size=3))
def test_a_shortened_text_is_accepted(length: int, end: str) -> None:
    text = shortened("x" * length + end)
    assert len(text) <= MAX_MESSAGE_LENGTH
    TypeAdapter(Message).validate_python(text)


@pytest.mark.parametrize(
    "field", ["fetched_at", "rows", "verified"], ids=["fetched too early", "a row after the fetch", "a span after it"]
)
def test_candles_and_verified_spans_are_not_after_their_fetch(field: str) -> None:
    example = examples_of(CandlesCollected)[-1]
    event = CandlesCollected.model_validate(example)
    newest = max([to_instant(row.open_ms) for row in event.rows] + [span.end for span in event.verified])
    late = newest + timedelta(days=900)
    wrong: dict[str, Any] = {
        "fetched_at": {"fetched_at": newest - timedelta(hours=1, seconds=1)},
        "rows": {"rows": [*example["rows"], [to_milliseconds(late), 1, 1, 1, 1, 1]]},
        "verified": {"verified": [{"start": newest, "end": late}]},
    }[field]
    with pytest.raises(ValidationError, match="later than fetched_at"):
        CandlesCollected.model_validate(example | wrong)
    CandlesCollected.model_validate(example | {"fetched_at": newest - timedelta(hours=1)})


@given(st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1))
def test_a_version_is_outdated_unless_it_is_newer_or_the_known_one_is_implausible(version: int, known: int) -> None:
    assert is_outdated(version, known) == (version <= known and known - version < MAX_VERSION_STEP)


@pytest.mark.parametrize("key", ["1_0", "+1", "01", "\u0661", "", " 1", "1.0", "-1", "0", str(2**63), "9" * 5000])
def test_a_key_that_is_not_exactly_an_id_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="is not an id"):
        row_id_of(key)
    assert row_id_of(str(MAX_BIGINT)) == MAX_BIGINT
