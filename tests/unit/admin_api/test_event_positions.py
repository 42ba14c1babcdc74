import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.events.positions import NotAPosition, Positions, decode, encode
from admin_api.events.topics import PLACES

offsets = st.one_of(st.integers(0, 300), st.integers(0, 2**63 - 1))
everywhere = st.lists(offsets, min_size=len(PLACES), max_size=len(PLACES)).map(
    lambda values: dict(zip(PLACES, values, strict=True))
)


@given(everywhere, offsets)
def test_an_id_says_every_place_and_the_latest_timestamp(positions: Positions, latest_ms: int) -> None:
    text = encode(positions, latest_ms)
    assert decode(text) == (positions, latest_ms)
    assert text.isascii()
    assert text.isprintable()


@given(everywhere, st.integers(1, 20))
def test_what_is_cut_off_is_not_an_id(positions: Positions, cut: int) -> None:
    with pytest.raises(NotAPosition):
        decode(encode(positions, 0)[:-cut])


@given(st.text(max_size=300))
def test_other_texts_are_not_ids(text: str) -> None:
    with pytest.raises(NotAPosition):
        decode(text)


def test_an_offset_beyond_kafkas_is_not_an_id() -> None:
    good = base64.urlsafe_b64decode(encode(dict.fromkeys(PLACES, 0), 0) + "==")
    with pytest.raises(NotAPosition, match="too large"):
        decode(base64.urlsafe_b64encode(good[:2] + b"\xff" * 10_000).rstrip(b"=").decode())


def test_an_id_is_short() -> None:
    assert len(encode(dict.fromkeys(PLACES, 100_000_000), 1_800_000_000_000)) < 250
