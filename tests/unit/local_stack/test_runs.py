import json
from typing import Any

import httpx
import pytest

from local_stack.api_client import EXAMPLES, create_examples, headline, new_runs
from local_stack.demo import ProgressPrinter
from local_stack.plan import SIMULATED_EXCHANGES


def a_row(log_id: int, finished_at: str = "2025-01-15T10:00:03Z", **changes: object) -> dict[str, object]:
    row = {
        "id": log_id,
        "finished_at": finished_at,
        "symbol": "BTC/USDT",
        "exchange": "binance",
        "status": "success",
        "records_collected": 12,
        "duration_seconds": 0.25,
        "error_message": None,
    }
    return {**row, **changes}


def test_new_runs_are_sorted_by_their_end() -> None:
    rows = [a_row(3, "2025-01-15T10:00:09Z"), a_row(2, "2025-01-15T10:00:08Z"), a_row(1), a_row(4)]
    assert [run.log_id for run in new_runs(rows, frozenset({1}))] == [4, 2, 3]


def test_a_run_is_one_line_with_its_number_of_candles() -> None:
    (run,) = new_runs([a_row(1)], frozenset())
    assert run.line() == "10:00:03  BTC/USDT   binance   success    0.25 s     12 candles"


def test_a_failed_run_is_one_line_with_the_first_line_of_its_error() -> None:
    reason = "binance is under maintenance\nand more"
    (run,) = new_runs([a_row(1, status="failed", error_message=reason, duration_seconds=None)], frozenset())
    assert run.line() == "10:00:03  BTC/USDT   binance   failed     0.00 s  binance is under maintenance"


@pytest.mark.parametrize(
    "character", ["\x00", "\x07", "\x1b", "\x7f", "\x9b", "\u202e", "\u2028", "\ud800", "\r", "\n"]
)
def test_the_line_of_a_run_has_no_control_characters(character: str) -> None:
    text = f"a{character}]0;title{character}b"
    row = a_row(1, symbol=text, exchange=text, status=text, error_message=text)
    (run,) = new_runs([row], frozenset())
    assert run.line().isprintable()
    assert "a" in run.line()


@pytest.mark.parametrize("error", ["", "\n", "\x1c"])
def test_an_error_without_a_first_line_is_shown(error: str) -> None:
    (run,) = new_runs([a_row(1, status="failed", error_message=error)], frozenset())
    assert run.line().startswith("10:00:03  BTC/USDT   binance   failed")


def test_the_headline_is_one_line_if_there_are_periods() -> None:
    total = {
        "series": 12,
        "whole_percent": 99.99,
        "answered_percent": 100.0,
        "verified_periods": 8990,
        "closed_periods": 8991,
    }
    assert headline(total) == "99.99 % whole, 100.00 % answered: 12 series, 8990 of 8991 periods verified"
    assert headline(total | {"whole_percent": None, "answered_percent": None}) is None


def test_everything_that_the_demo_prints_is_free_of_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    ProgressPrinter().progress("log-writer ended:\n    | \x1b[2J\x9b31m \u202etxt.exe \x07")
    printed = capsys.readouterr().out
    assert printed.replace("\n", "").isprintable()
    assert printed.endswith("\n    |  [2J 31m  txt.exe  \n")


def test_the_examples_are_four_symbols_on_simulated_exchanges() -> None:
    assert [symbol for symbol, *_ in EXAMPLES] == ["BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT"]
    assert {exchange for _, exchange, _ in EXAMPLES} <= set(SIMULATED_EXCHANGES)


async def test_a_refused_example_is_reported_and_the_others_are_created() -> None:
    created: list[dict[str, Any]] = []

    def respond(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=created[:1])
        config = json.loads(request.content)
        if config["exchange"] != "kraken":
            return httpx.Response(422, json={"detail": "not allowed here"})
        created.append(config)
        return httpx.Response(201, json=config)

    reports: list[str] = []
    async with httpx.AsyncClient(transport=httpx.MockTransport(respond), base_url="http://api") as api:
        config = await create_examples(api, reports.append)
    assert config is not None
    assert config["exchange"] == "kraken"
    assert reports == [f"no example of {each}: not allowed here" for each in ("binance", "bybit", "okx")]
