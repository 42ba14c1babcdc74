"""The preflight of a config: the rate of its runs, the budget of the exchange, and the end of the history."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.backfills.estimates import Target, estimate
from admin_api.configs.preflight import budget_of, load_of, whole_at
from contracts.coverage import to_milliseconds

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
MINUTE = 60_000


def test_each_timeframe_of_a_run_is_one_request_and_more_if_the_interval_is_wider_than_a_page() -> None:
    assert load_of("binance", "BTC/USDT", ["1m", "1h"], 10) == (pytest.approx(0.2), pytest.approx(0.08))
    requests, _ = load_of("binance", "BTC/USDT", ["1s"], 60)
    assert requests == pytest.approx(4 / 60)  # 3,602 candles in pages of 1,000


@given(st.integers(1, 10_080), st.lists(st.sampled_from(["1m", "1h", "1d", "1M"]), unique=True))
def test_more_timeframes_never_cost_less(interval: int, timeframes: list[str]) -> None:
    fewer, more = (
        load_of("kraken", "BTC/USD", timeframes, interval),
        load_of("kraken", "BTC/USD", [*timeframes, "1w"], interval),
    )
    assert all(mine <= others for mine, others in zip(fewer, more, strict=True))


def test_the_budget_is_the_rate_limit_of_ccxt() -> None:
    found = budget_of("kraken", others=30.0, mine=15.0)
    assert (found.limit, found.share_after) == (60.0, 0.75)
    assert budget_of("no-such-exchange", 1.0, 1.0).share_after is None


def test_the_history_is_whole_when_the_rest_of_the_rate_limit_has_sent_it() -> None:
    now = to_milliseconds(NOW)
    year = Target("binance", "BTC/USDT", "1m", (now - 525_600 * MINUTE, now), ((now - 525_600 * MINUTE, now),))
    history = estimate([year], now)
    free = whole_at(history, budget_of("binance", 0.0, 0.0), NOW)
    assert free == NOW + timedelta(minutes=history.weight / 1200)
    busy = whole_at(history, budget_of("binance", 600.0, 0.0), NOW)
    assert busy is not None
    assert busy - NOW == pytest.approx(2 * (free - NOW), abs=timedelta(milliseconds=1))
    assert whole_at(history, budget_of("binance", 1200.0, 1.0), NOW) is None
    assert whole_at(None, budget_of("binance", 0.0, 0.0), NOW) is None
