import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.events.positions import NotAPosition, Positions, decode, encode
from admin_api.events.topics import PARTITIONS

offsets = st.one_of(st.integers(0, 300), st.integers(0, 2**63 - 1))
all_positions = st.lists(offsets, min_size=len(PARTITIONS), max_size=len(PARTITIONS)).map(
    lambda values: dict(zip(PARTITIONS, values, strict=True))
)


@given(all_positions, offsets)
def test_an_id_contains_every_position_and_the_latest_timestamp(positions: Positions, latest_ms: int) -> None:
    text = encode(positions, latest_ms)
    assert decode(text) == (positions, latest_ms)
    assert text.isascii()
    assert text.isprintable()


@given(all_positions, st.integers(1, 20))
def test_a_truncated_id_is_refused(positions: Positions, cut: int) -> None:
    with pytest.raises(NotAPosition):
        decode(encode(positions, 0)[:-cut])


@given(st.text(max_size=300))
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(NotAPosition):
        decode(text)


def test_an_id_with_an_impossible_offset_is_refused() -> None:
    valid = base64.urlsafe_b64decode(encode(dict.fromkeys(PARTITIONS, 0), 0) + "==")
    with pytest.raises(NotAPosition, match="too large"):
        decode(base64.urlsafe_b64encode(valid[:2] + b"\xff" * 10_000).rstrip(b"=").decode())


def test_an_id_is_short() -> None:
    assert len(encode(dict.fromkeys(PARTITIONS, 100_000_000), 1_800_000_000_000)) < 250
