"""The committed catalogue and its page are those that the installed ccxt and the table of traits give."""

from pathlib import Path

import pytest

from collector.exchange.catalogue.generate import CATALOGUE, catalogue_text
from collector.exchange.catalogue.page import PAGE, page_text, with_section

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_the_committed_catalogue_is_current() -> None:
    committed = CATALOGUE.read_text(encoding="utf-8")
    assert committed == catalogue_text(), "stale: run `make generate`"


def test_the_page_of_exchanges_is_current() -> None:
    committed = (REPOSITORY / PAGE).read_text(encoding="utf-8")
    assert committed == page_text(committed), f"{PAGE} is stale; run `make generate`"


def test_a_section_is_replaced_and_the_others_stay() -> None:
    page = "text\n<!-- generated: a -->old<!-- end of a -->\n<!-- generated: b -->kept<!-- end of b -->\n"
    changed = with_section(page, "a", ["new \\1"])
    assert changed == page.replace("old", "\n\nnew \\1\n\n")
    with pytest.raises(ValueError, match="markers"):
        with_section(page, "c", ["new"])
