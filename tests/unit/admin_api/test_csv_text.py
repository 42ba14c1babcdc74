"""CSV: no cell is a formula, and programs read the same texts back."""

import csv
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.http.csv_text import cell, csv_lines

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1"])
def test_a_text_that_begins_like_a_formula_gets_an_apostrophe(text: str) -> None:
    assert cell(text) == f"'{text}"


def test_numbers_times_and_other_texts_stay() -> None:
    values = [-1, -0.5, None, datetime(2026, 1, 2, tzinfo=UTC), "BTC/USDT", "a=b"]
    assert csv_lines([values]) == "-1,-0.5,,2026-01-02T00:00:00Z,BTC/USDT,a=b\r\n"


@given(st.lists(st.lists(TEXTS, min_size=2, max_size=4), max_size=4))
def test_a_program_reads_the_same_texts_and_no_cell_begins_like_a_formula(rows: list[list[str]]) -> None:
    read = list(csv.reader(io.StringIO(csv_lines(rows), newline="")))
    assert [[each.removeprefix("'") for each in row] for row in read] == [
        [each.removeprefix("'") for each in row] for row in rows
    ]
    assert not [each for row in read for each in row if each.lstrip(" ")[:1] in set("=+-@\t\r\n")]
