import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.http.errors import InvalidInput, VersionMismatch
from admin_api.http.etags import PATTERN, etag, parse_tags, require_match


@pytest.mark.parametrize(
    ("header", "strong", "weak"),
    [
        ('"3"', True, True),
        ("*", True, True),
        ('"2", "3"', True, True),
        ('"2","3"', True, True),
        ('"2"  ,\t"3"', True, True),
        ('W/"3"', False, True),
        ('W/"3", "4"', False, True),
        ('"4"', False, False),
        ('"33"', False, False),
        ('""', False, False),
        ('"*"', False, False),
    ],
)
def test_header_values_that_match_version_3(header: str, strong: bool, weak: bool) -> None:
    tags = parse_tags(header, "If-Match")
    assert tags.match_version(3) is strong
    assert tags.match_weakly(etag(3)) is weak


def test_values_that_are_not_part_of_the_version_count_for_if_none_match_only() -> None:
    listed, delisted = etag(3, "listed"), etag(3, "delisted")
    assert len({listed, delisted, etag(3), etag(33, "listed")}) == 4
    assert parse_tags(listed, "If-None-Match").match_weakly(listed)
    assert not parse_tags(f"{listed}, {etag(3)}", "If-None-Match").match_weakly(delisted)
    assert parse_tags(listed, "If-Match").match_version(3)
    assert not parse_tags(etag(33, "listed"), "If-Match").match_version(3)
    assert not parse_tags('".3", "x.3", "3.", "03"', "If-Match").match_version(4)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "3",
        '"3',
        '3"',
        '"3" "4"',
        '"3",',
        ',"3"',
        "*, *",
        '*, "3"',
        'w/"3"',
        'W/ "3"',
        '"3"\n',
        '"a b"',
        "'3'",
        '"é"',
        '"' + "3" * 1000 + '"',
        "**",
    ],
)
def test_a_malformed_header_is_an_error_that_names_the_header(header: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_tags(header, "If-Match")
    [error] = refusal.value.errors
    assert (error.pointer, error.where) == ("#/If-Match", "header")
    assert "ETag" in error.detail


@given(st.text(alphabet='"W/*,3 \t!~', max_size=20))
def test_the_documented_pattern_accepts_the_same_headers_as_the_parser(header: str) -> None:
    try:
        parse_tags(header, "If-Match")
    except InvalidInput:
        accepted = False
    else:
        accepted = True
    assert accepted == bool(re.fullmatch(PATTERN, header))


def test_a_version_mismatch_contains_the_current_version() -> None:
    with pytest.raises(VersionMismatch) as refusal:
        require_match(parse_tags('"2"', "If-Match"), 3)
    assert refusal.value.headers == {"ETag": '"3"'}
    assert refusal.value.extensions == {"version": 3}


def test_without_if_match_any_version_is_accepted() -> None:
    require_match(None, 3)
