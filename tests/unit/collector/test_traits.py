"""The table of exchanges: every fact has a source, and an exchange without a row gets the safe defaults."""

from dataclasses import fields

import ccxt
import pytest

from collector.exchange.traits import TRAITS, ExchangeTraits, traits_of

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
