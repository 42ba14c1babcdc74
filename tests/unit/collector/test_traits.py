"""The table of exchanges: every fact has a source, and an exchange without a row gets the safe defaults."""

from dataclasses import fields
from typing import Any

import ccxt
import pytest

from collector.exchange.response_shape import is_list_of_candles
from collector.exchange.traits import ANY_KEY, TRAITS, ExchangeTraits, traits_of

FACTS = {each.name for each in fields(ExchangeTraits)} - {"sources"}
ROWS = pytest.mark.parametrize("exchange", TRAITS)


@ROWS
def test_every_fact_that_differs_from_the_default_has_a_source(exchange: str) -> None:
    row, default = TRAITS[exchange], ExchangeTraits()
    changed = {name for name in FACTS if getattr(row, name) != getattr(default, name)}
    assert changed <= set(row.sources) <= FACTS
    assert all(source.strip() for source in row.sources.values())


@ROWS
def test_every_row_is_an_exchange_of_ccxt(exchange: str) -> None:
    assert exchange in ccxt.exchanges


def test_an_exchange_without_a_row_gets_the_defaults() -> None:
    assert traits_of("no such exchange") == ExchangeTraits()


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ((), [], True),
        ((), {"data": []}, False),
        (("data",), {"data": []}, True),
        (("data",), {"data": {}}, False),
        (("data",), {"rows": []}, False),
        (("data",), [], False),
        (("result", "list"), {"result": {"list": [1]}}, True),
        (("result", "list"), {"result": None}, False),
        (("result", ANY_KEY), {"result": {"XBTUSDT": [], "last": 1}}, True),
        (("result", ANY_KEY), {"result": {"last": 1}}, False),
        (("result", ANY_KEY), {"result": []}, False),
        (("result", ANY_KEY), {"error": ["EGeneral"]}, False),
        (None, {"a": {"b": {"c": {"d": []}}}}, True),
        (None, {"a": {"b": {"c": {"d": {"e": []}}}}}, False),
        (None, {"unexpected": 1}, False),
        (None, [], True),
        ((), None, False),
    ],
)
def test_the_list_of_candles_is_found_by_its_path(path: tuple[str, ...] | None, body: Any, found: bool) -> None:
    assert is_list_of_candles(path, body) is found
