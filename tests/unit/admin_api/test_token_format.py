import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.auth.token_format import mint, parse, shown_prefix


def test_a_token_has_a_prefix_an_id_a_secret_of_256_bits_and_a_checksum() -> None:
    minted = mint()
    assert re.fullmatch(r"ck_[0-9A-Za-z]{12}_[0-9A-Za-z_-]{43}_[0-9a-f]{8}", minted.text)
    assert minted.text.startswith(shown_prefix(minted.public_id))
    assert minted.text not in repr(minted)


def test_each_token_is_unique_and_can_be_parsed() -> None:
    minted = [mint() for _ in range(200)]
    assert len({each.public_id for each in minted}) == len({each.secret_hash for each in minted}) == 200
    for each in minted:
        parsed = parse(each.text)
        assert parsed is not None
        assert (parsed.public_id, parsed.secret_hash) == (each.public_id, each.secret_hash)


@given(data=st.data())
def test_the_checksum_detects_one_wrong_character(data: st.DataObject) -> None:
    text = mint().text
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.characters().filter(lambda each: each != text[at]))
    assert parse(text[:at] + letter + text[at + 1 :]) is None


@given(st.text())
def test_other_texts_are_not_tokens(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    "change", [str.upper, lambda text: text + "\n", lambda text: " " + text, lambda text: text[:-1]]
)
def test_a_token_with_any_change_is_refused(change: object) -> None:
    assert callable(change)
    assert parse(change(mint().text)) is None
