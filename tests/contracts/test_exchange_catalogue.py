"""The committed catalogue of exchanges is the one that the installed ccxt and the table of traits give."""

import pytest

from collector.exchange.catalogue.generate import CATALOGUE, catalogue_text


@pytest.mark.timeout(600)
def test_the_committed_catalogue_is_current() -> None:
    committed = CATALOGUE.read_text(encoding="utf-8")
    assert committed == catalogue_text(), "stale: run `make generate`"
