"""The estimates of backfills: requests by the page of the exchange, and candles that can never be had."""

from datetime import datetime, timedelta

import pytest

from admin_api.backfills.estimates import FinalAbsence, Target, estimate
from admin_api.backfills.progress import ChunkFacts, progress_of
from contracts.coverage import to_instant, to_milliseconds
from contracts.spans import Intervals

MINUTE = 60_000
DAY = 1440 * MINUTE
NOW = to_milliseconds(datetime.fromisoformat("2026-11-27T12:00:00+00:00"))


def a_target(missing: Intervals, exchange: str = "binance", timeframe: str = "1m", **more: object) -> Target:
    first = min((start for start, _ in missing), default=NOW - DAY)
    return Target(exchange, "BTC/USDT", timeframe, (first, NOW), missing, **more)  # type: ignore[arg-type]


def test_a_year_of_minutes_on_binance_takes_pages_of_998_candles() -> None:
    found = estimate([a_target(((NOW - 365 * DAY, NOW),), verified_from=NOW - 400 * DAY)], NOW)
    assert (found.candles, found.requests) == (525_600, 527)
    assert found.weight == pytest.approx(527 * 0.4)
    assert found.duration_seconds == pytest.approx(527 * 0.4 * 0.05, abs=0.001)
    assert (found.is_upper_bound, found.never_available) == (False, [])
    assert 50_000_000 < found.disk_bytes < 100_000_000


def test_time_before_the_first_known_candle_makes_the_estimate_an_upper_bound() -> None:
    missing = ((NOW - 30 * DAY, NOW - DAY),)
    assert estimate([a_target(missing, verified_from=NOW - DAY)], NOW).is_upper_bound
    assert estimate([a_target(missing)], NOW).is_upper_bound
    assert not estimate([a_target(missing, verified_from=NOW - 40 * DAY)], NOW).is_upper_bound


def test_kraken_keeps_720_candles_so_the_rest_can_never_be_had() -> None:
    found = estimate([a_target(((NOW - 30 * DAY, NOW),), exchange="kraken", timeframe="1h")], NOW)
    assert (found.candles, found.requests, found.is_upper_bound) == (719, 2, False)
    [never] = found.never_available
    assert (never.absence_class, never.candles, never.end) == ("beyond_horizon", 1, to_instant(NOW - 719 * 60 * MINUTE))
    assert "only the newest 720 candles of 1h" in never.reason


def test_candles_from_trades_cost_as_many_requests_as_their_trades_need() -> None:
    """29 days less 720 candles of 1m, 10 trades each: 411 pages, in 21 runs of 2000 candles with 6 more requests."""
    missing = ((NOW - 29 * DAY, NOW),)
    target = a_target(missing, exchange="kraken", from_trades=True, trades_per_candle=10.0)
    found = estimate([target], NOW)
    [kraken] = found.exchanges
    assert kraken.from_trades is not None
    assert kraken.from_trades.candles == 29 * 1440 - 719
    assert kraken.from_trades.requests == 411 + 21 * 6
    assert kraken.from_trades.weight == pytest.approx(1.2 * kraken.from_trades.requests)
    own = estimate([a_target(((NOW - 719 * MINUTE, NOW),), exchange="kraken")], NOW)
    assert found.requests == own.requests + kraken.from_trades.requests
    assert found.candles == 29 * 1440
    assert found.duration_seconds == pytest.approx(found.weight)
    assert found.never_available == []


def test_the_cost_of_unknown_trades_is_unknown() -> None:
    found = estimate([a_target(((NOW - 29 * DAY, NOW),), exchange="kraken", from_trades=True)], NOW)
    [kraken] = found.exchanges
    assert kraken.from_trades is not None
    assert (kraken.from_trades.series_of_unknown_cost, kraken.from_trades.requests) == (1, 0)
    assert (kraken.duration_seconds, found.duration_seconds) == (None, None)


def test_absences_of_a_final_class_cost_no_request_and_are_listed_with_their_evidence() -> None:
    gone = FinalAbsence("lost", "the exchange keeps 10 days", (NOW - 20 * DAY, NOW - 10 * DAY))
    found = estimate([a_target(((NOW - 20 * DAY, NOW),), verified_from=NOW - 30 * DAY, absences=(gone,))] * 2, NOW)
    assert found.candles == 2 * 14_400
    [never] = found.never_available
    assert (never.absence_class, never.reason, never.series, never.candles) == ("lost", gone.evidence, 2, 28_800)


def test_exchanges_work_side_by_side_and_an_unknown_rate_makes_the_duration_unknown() -> None:
    missing = ((NOW - DAY, NOW),)
    both = estimate([a_target(missing), a_target(missing, exchange="coinbase")], NOW)
    assert [each.exchange for each in both.exchanges] == ["binance", "coinbase"]
    assert both.duration_seconds == max(each.duration_seconds or 0 for each in both.exchanges)
    unknown = estimate([a_target(missing), a_target(missing, exchange="no-such-exchange")], NOW)
    assert unknown.duration_seconds is None
    assert [each.duration_seconds is None for each in unknown.exchanges] == [False, True]


def test_nothing_missing_costs_nothing() -> None:
    found = estimate([a_target(()), Target("binance", "ETH/USDT", "1h", None)], NOW)
    assert (found.requests, found.candles, found.duration_seconds, found.never_available) == (0, 0, 0, [])


def test_the_progress_says_percent_rate_and_end() -> None:
    now = to_instant(NOW)
    target = Target("binance", "BTC/USDT", "1m", (NOW - DAY, NOW), ((NOW - DAY, NOW - DAY // 4),))
    chunks = ChunkFacts(
        counts={"waiting": 3, "verified": 2},
        next_attempt_at=now,
        ended={"1m": 600 * 60.0},
        began=now - timedelta(minutes=5),
    )
    found = progress_of([target], chunks, now, active=True)
    assert (found.percent, found.is_whole, found.missing_candles) == (25.0, False, 1080)
    assert found.reached == to_instant(NOW - DAY // 4)
    assert found.candles_per_second == pytest.approx(2.0)
    assert found.eta == now + timedelta(seconds=540)
    assert (found.chunks.waiting, found.chunks.verified) == (3, 2)
    assert progress_of([target], chunks, now, active=False).eta is None
    assert progress_of([target], ChunkFacts(), now, active=True).eta is None


def test_only_a_range_without_missing_candles_is_whole() -> None:
    now, almost = to_instant(NOW), ((NOW - 1_000_000 * MINUTE, NOW - 999_999 * MINUTE),)
    one_left = Target("binance", "BTC/USDT", "1m", (NOW - 1_000_000 * MINUTE, NOW), almost)
    found = progress_of([one_left], ChunkFacts(), now, active=True)
    assert (found.percent, found.is_whole) == (99.99, False)
    whole = progress_of([Target("binance", "BTC/USDT", "1m", (NOW - DAY, NOW))], ChunkFacts(), now, active=True)
    assert (whole.percent, whole.is_whole, whole.reached) == (100.0, True, to_instant(NOW - DAY))
    assert progress_of([Target("binance", "BTC/USDT", "1m", None)], ChunkFacts(), now, active=True).percent is None
