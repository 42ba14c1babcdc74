"""Every exchange of the catalogue against a model of it. `pytest --all-exchanges` plays all, in some minutes."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from collector.exchange.catalogue.page import PAGE
from collector.exchange.traits_table import traits_of
from contracts.exchange_catalogue import MarketKind, load_catalogue
from support.coverage_model.invariants import Disagreement
from support.coverage_model.wrong_rules import WRONG_RULES
from support.exchange_scan import Scenario, Series, fingerprint, is_stale, outcome, rows, series_of

pytestmark = pytest.mark.timeout(900)  # for a machine that is busy with other tests

SAMPLE = ("bequant", "bigone", "bitbank", "coinbaseexchange", "hollaex", "kraken", "p2b")
"""Small exchanges with all kinds of requests."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "exchange" in metafunc.fixturenames:
        is_whole = metafunc.config.getoption("--all-exchanges")
        metafunc.parametrize("exchange", sorted(load_catalogue().exchanges) if is_whole else SAMPLE)


def test_no_exchange_loses_a_candle_silently_and_the_table_shows_what_is_missing(exchange: str) -> None:
    """A silent loss raises `Disagreement`."""
    page = PAGE.read_text(encoding="utf-8")
    for row in rows(exchange):
        hint = f"{PAGE} is stale; run `PYTHONPATH=tests python -m support.exchange_scan --always`"
        assert f"\n| {' | '.join(row)} |\n" in page, hint


def test_the_table_is_up_to_date_and_has_every_exchange() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert not is_stale(page), f"{PAGE} is stale; run `make generate`"
    scan = page[page.index("<!-- generated: scan -->") :]
    assert [each for each in load_catalogue().exchanges if any(series_of(each)) and f"\n| `{each}` |" not in scan] == []


@pytest.mark.parametrize("seed", ["1", "2"])
def test_every_process_has_the_same_fingerprint_of_the_facts(seed: str) -> None:
    """The order of the members of a set differs between processes."""
    program = "from support.exchange_scan import fingerprint; print(fingerprint())"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
    other = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True)
    assert other.stdout.strip() == fingerprint()


def test_the_sample_has_all_kinds_of_requests() -> None:
    def kinds(exchanges: Iterable[str]) -> set[str]:
        return {
            traits_of(series.exchange).request_kind(series.kind, series.timeframe).value
            for exchange in exchanges
            for series in series_of(exchange)
        }

    assert kinds(SAMPLE) == kinds(load_catalogue().exchanges)


@pytest.mark.parametrize(
    ("rule", "of_exchange", "scenario"),
    [
        ("pending spans are dropped", "bithumb", Scenario.FIVE_PAGES),
        ("a page covers the requested window", "bithumb", Scenario.FIVE_PAGES),
        ("silence up to now is proved", "upbit", Scenario.LAG),
    ],
)
def test_the_scan_finds_the_fault_of_a_wrong_rule(rule: str, of_exchange: str, scenario: Scenario) -> None:
    with pytest.raises(Disagreement):
        outcome(Series(of_exchange, MarketKind.SPOT, "1m"), scenario, WRONG_RULES[rule])
