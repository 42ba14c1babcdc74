import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.http.cursors import MAX_LENGTH, InvalidCursor, decode, encode, fingerprint

QUERY = fingerprint(of_list="runs", query={"status": "failed", "sort": "-started_at"})
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

instants = st.integers(min_value=-(10**10), max_value=2 * 10**11).map(
    lambda second: datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=9))) + timedelta(seconds=second, microseconds=7)
)
ids = st.integers(min_value=1, max_value=2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32), max_size=120)
keys = st.lists(
    st.one_of(
        st.tuples(st.just(datetime), instants), st.tuples(st.just(int), ids), st.tuples(st.just(str), texts)
    ),
    max_size=4,
)  # fmt: skip


@given(keys=keys)
def test_a_cursor_returns_its_position_and_needs_no_url_escapes(
    keys: list[tuple[type, Any]],
) -> None:
    kinds, position = [kind for kind, _ in keys], tuple(value for _, value in keys)
    cursor = encode(QUERY, position)
    assert decode(cursor, QUERY, kinds) == position
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_a_cursor_with_the_longest_symbol_is_short_enough() -> None:
    assert len(encode(QUERY, ["x" * 40, "币" * 122, "1m"])) <= MAX_LENGTH


@given(text=st.one_of(st.text(max_size=60), st.text("ABCDxyz019-_=", max_size=60)))
def test_an_invalid_cursor_is_refused_with_an_instruction(text: str) -> None:
    with pytest.raises(InvalidCursor, match="Link header"):
        decode(text, QUERY, [datetime, int])


@given(body=st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=8))
def test_json_that_is_not_a_cursor_is_refused(body: Any) -> None:
    text = base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")
    with pytest.raises(InvalidCursor):
        decode(text, QUERY, [datetime, int])


@pytest.mark.parametrize(
    "position",
    [
        [],
        [NOON],
        [NOON, 1, 1],
        [1, NOON],
        ["soon", 1],
        [NOON, 0],
        [NOON, 2**63],
        [NOON, None],
        [NOON, [1]],
        ["0001-01-01T00:00:00+14:00", 1],
    ],
)
def test_a_position_with_wrong_types_or_values_is_refused(position: list[Any]) -> None:
    with pytest.raises(InvalidCursor, match="damaged"):
        decode(encode(QUERY, position), QUERY, [datetime, int])


@pytest.mark.parametrize("text", ["a\x00", "x" * 501])
def test_a_text_that_postgres_cannot_store_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor, match="damaged"):
        decode(encode(QUERY, [text]), QUERY, [str])


def test_a_cursor_is_accepted_only_for_its_own_query() -> None:
    cursor = encode(QUERY, [NOON, 7])
    same = fingerprint(of_list="runs", query={"sort": "-started_at", "status": "failed"})
    assert decode(cursor, same, [datetime, int]) == (NOON, 7)
    for of_list, query in (
        ("runs", {"status": "success", "sort": "-started_at"}),
        ("runs", {"status": "failed", "sort": "started_at"}),
        ("runs", {"sort": "-started_at"}),
        ("configs", {"status": "failed", "sort": "-started_at"}),
    ):
        with pytest.raises(InvalidCursor, match="other filters or another sorting"):
            decode(cursor, fingerprint(of_list=of_list, query=query), [datetime, int])
