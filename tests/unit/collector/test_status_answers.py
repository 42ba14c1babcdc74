"""Which answers of exchanges about their status say that nothing is traded."""

import ccxt
import pytest

from collector.exchange.status_answers import NO_WITNESSES, STATUS_ANSWERS, raw_status
from contracts.exchange_catalogue import load_catalogue


@pytest.mark.parametrize(
    ("exchange", "answer", "expected"),
    [
        ("backpack", {"status": "Maintenance", "message": None}, ("maintenance", True)),
        ("backpack", {"status": "Ok", "message": None}, ("ok", False)),
        ("binance", {"status": 1, "msg": "system_maintenance"}, ("1", True)),
        ("binance", {"status": "0", "msg": "normal"}, ("0", False)),
        ("bitfinex", [0], ("0", True)),
        ("bitfinex", ["1"], ("1", False)),
        ("htx", {"code": 200, "data": {"marketStatus": 2}}, ("2", True)),
        ("htx", {"code": 200, "data": {"marketStatus": 1}}, ("1", False)),
        ("kraken", {"result": {"status": "post_only"}}, ("post_only", True)),
        ("kraken", {"result": {"status": "limit_only"}}, ("limit_only", False)),
        ("kucoin", {"code": "200000", "data": {"status": "cancelonly"}}, ("cancelonly", True)),
        ("kucoin", {"code": "200000", "data": {"status": "open"}}, ("open", False)),
        ("modetrade", {"data": {"status": 2}}, ("2", True)),
        ("paradex", {"status": "post_only"}, ("post_only", False)),
        ("paradex", {"status": "maintenance"}, ("maintenance", True)),
        ("woo", {"data": {"status": 0}}, ("0", False)),
        ("woofipro", {"data": {"status": "2"}}, ("2", True)),
    ],
)
def test_the_raw_answer_counts(exchange: str, answer: object, expected: tuple[str, bool]) -> None:
    assert raw_status(exchange, {"status": "maintenance", "info": answer}) == expected


@pytest.mark.parametrize("answer", [None, {}, [], "1", 0, {"result": None}, {"result": ["maintenance"]}, {"data": "2"}])
def test_an_answer_of_another_form_says_nothing(answer: object) -> None:
    for exchange in STATUS_ANSWERS:
        assert raw_status(exchange, {"status": "maintenance", "info": answer}) is None
    assert raw_status("kraken", None) is None


def test_an_exchange_that_is_no_witness_says_nothing() -> None:
    for exchange in NO_WITNESSES:
        assert raw_status(exchange, {"status": "maintenance", "info": {"status": "maintenance"}}) is None


def test_every_exchange_whose_status_ccxt_requests_is_a_witness_or_has_a_reason() -> None:
    """Both lists follow an update of ccxt."""
    known = {each for each in load_catalogue().exchanges if getattr(ccxt, each)().has.get("fetchStatus") is True}
    assert known <= STATUS_ANSWERS.keys() | NO_WITNESSES.keys()
    assert not STATUS_ANSWERS.keys() & NO_WITNESSES.keys()
    assert all(getattr(ccxt, each)().has.get("fetchStatus") is True for each in (*STATUS_ANSWERS, *NO_WITNESSES))
    assert all(each.source and each.closed and each.kinds for each in STATUS_ANSWERS.values())
