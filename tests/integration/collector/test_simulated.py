"""Collecting from the simulated exchanges, with and without faults."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from collector.exchange.failures import ExchangeFailure
from collector.run.retry_policy import RetryPolicy
from contracts.candles import NO_ACTIVITY
from contracts.coverage import AbsenceClass, PendingSpan, SeriesProgress, to_instant
from contracts.spans import subtract
from contracts.vocabulary import ErrorClass
from support.collecting import EXCHANGES, QUICK, Exchanges, Simulator, rows_of, symbol_of
from support.polling import eventually

NOW = datetime(2025, 6, 2, 12, 0, 30, tzinfo=UTC)
NO_RETRIES = RetryPolicy(max_retries=0, max_retries_by_class={})


@pytest.fixture
def exchanges(simulator: Simulator, exchanges_at: Callable[..., Exchanges]) -> Exchanges:
    return exchanges_at(simulator.base)


def ms(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)


async def expected_rows(simulator: Simulator, exchange: str, timeframe: str, start: datetime, **query: Any) -> Any:
    symbol = query.pop("symbol", symbol_of(exchange))
    return await simulator.true_candles(exchange, symbol, timeframe, start=ms(start), **query)


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("timeframe", ["1m", "1h", "1d"])
async def test_a_first_run_collects_one_page_of_closed_candles(
    exchange: str, timeframe: str, simulator: Simulator, exchanges: Exchanges
) -> None:
    timeframe_run = await exchanges.collect(exchange, timeframe)
    rows = rows_of(timeframe_run)
    assert rows == await expected_rows(simulator, exchange, timeframe, datetime.fromtimestamp(rows[0][0] / 1000, UTC))
    assert (len(rows) > 250, timeframe_run.result().pages) == (True, 1)


@pytest.mark.parametrize(
    ("exchange", "has_trades", "has_quote_volume"),
    [
        ("binance", True, True),
        ("bybit", False, True),
        ("coinbase", False, False),
        ("kraken", True, False),
        ("okx", False, True),
    ],
)
async def test_candles_have_the_trade_count_and_the_quote_volume_that_the_exchange_sends(
    exchange: str, has_trades: bool, has_quote_volume: bool, exchanges: Exchanges
) -> None:
    [answer] = (await exchanges.collect(exchange, "1m")).answers
    assert len(answer.candles) > 250
    for candle in answer.candles:
        trades, quote_volume = answer.activity.get(candle.open_ms, NO_ACTIVITY)
        assert (trades is not None, quote_volume is not None) == (has_trades, has_quote_volume)
        assert trades is None or (trades > 0) == (candle.volume > 0)
        if quote_volume is not None:  # rounded by the exchange
            assert candle.low * 0.999 <= quote_volume / candle.volume <= candle.high * 1.001


async def test_no_candle_is_rejected_while_our_clock_is_an_hour_behind(
    simulator: Simulator, exchanges_at: Callable[..., Exchanges]
) -> None:
    """Kraken sends its newest 720 candles whatever is requested: 60 of them seem to open in the future."""
    behind = exchanges_at(simulator.base, now=(NOW - timedelta(hours=1)).timestamp)
    timeframe_run = await behind.collect("kraken")
    assert timeframe_run.result().rejected_count == 0
    assert to_instant(rows_of(timeframe_run)[-1][0]) < NOW - timedelta(hours=1)


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_a_window_of_many_pages_is_collected_completely(
    exchange: str, simulator: Simulator, exchanges: Exchanges
) -> None:
    start = NOW - timedelta(hours=11, minutes=30)
    timeframe_run = await exchanges.collect(exchange, "1m", start)
    rows = sorted(rows_of(timeframe_run))
    first = to_instant(int(rows[0][0]))
    assert first <= start.replace(second=0) - timedelta(minutes=1)
    assert rows == await expected_rows(simulator, exchange, "1m", first)
    result = timeframe_run.result()
    assert [(span.start, span.end) for span in result.verified] == [(first, NOW.replace(second=0))]
    assert (result.open_hole, result.notes) == (None, ())


async def test_weeks_and_months_are_collected_by_the_calendar(simulator: Simulator, exchanges: Exchanges) -> None:
    start = datetime(2024, 2, 10, tzinfo=UTC)
    for timeframe, first in (("1w", datetime(2024, 1, 15, tzinfo=UTC)), ("1M", datetime(2023, 11, 1, tzinfo=UTC))):
        rows = rows_of(await exchanges.collect("binance", timeframe, start))
        assert rows == await expected_rows(simulator, "binance", timeframe, first)


@pytest.mark.parametrize("exchange", ["binance", "bybit", "okx"])
async def test_swaps_are_collected(exchange: str, simulator: Simulator, exchanges: Exchanges) -> None:
    start = NOW - timedelta(minutes=30)
    swap = rows_of(await exchanges.collect(exchange, "1m", start, symbol="BTC/USDT:USDT"))
    spot = rows_of(await exchanges.collect(exchange, "1m", start, symbol="BTC/USDT"))
    first = start.replace(second=0) - timedelta(minutes=3)  # the anchor is one candle before, the request two more
    assert swap == await expected_rows(simulator, exchange, "1m", first, symbol="BTC/USDT:USDT")
    assert swap != spot


async def test_candles_that_kraken_no_longer_has_are_noted(simulator: Simulator, exchanges: Exchanges) -> None:
    timeframe_run = await exchanges.collect("kraken", "1m", NOW - timedelta(hours=20))
    result = timeframe_run.result()
    hole = result.open_hole
    assert hole is not None
    assert hole.absence_class is AbsenceClass.BEYOND_HORIZON
    assert (f"{hole.start:%d %H:%M}", f"{hole.end:%d %H:%M}") == ("01 16:00", "02 00:01")
    assert [(span.start, span.end) for span in result.lost] == [(hole.start, hole.end)]
    assert "not verified from 2025-06-01 16:00 to 2025-06-02 00:01 UTC (beyond_horizon)" in result.notes[-1]
    assert rows_of(timeframe_run) == await expected_rows(
        simulator, "kraken", "1m", NOW - timedelta(minutes=719, seconds=30)
    )


TEMPORARY_MOODS: list[dict[str, Any]] = [
    {"kind": "rate_limit"},
    {"kind": "ban", "retry_after": 0.1},
    {"kind": "error", "status": 500},
    {"kind": "error", "status": 524},
    {"kind": "html"},
    {"kind": "truncated"},
    {"kind": "reset"},
    {"kind": "reset_mid_body"},
    {"kind": "empty"},
    {"kind": "malformed"},
    {"kind": "malformed", "variant": "nulls"},
    {"kind": "malformed", "variant": "nan"},
    {"kind": "malformed", "variant": "unaligned"},
    {"kind": "maintenance"},
    {"kind": "trickle", "latency_ms": 4000},
]


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("mood", TEMPORARY_MOODS, ids=lambda mood: "-".join(map(str, mood.values())))
async def test_a_temporary_fault_causes_a_retry_and_no_candle_is_lost(
    exchange: str, mood: dict[str, Any], simulator: Simulator, exchanges_at: Callable[..., Exchanges]
) -> None:
    exchanges = exchanges_at(simulator.base, timeout=1.5 if mood["kind"] == "trickle" else 10.0)
    await exchanges.warm_up(exchange)
    await simulator.add_mood(**mood, exchange=exchange, count=1)
    start = NOW - timedelta(minutes=30)
    timeframe_run = await exchanges.collect(exchange, "1m", start)
    first = start.replace(second=0) - timedelta(minutes=3)  # the anchor is one candle before, the request two more
    assert sorted(rows_of(timeframe_run)) == await expected_rows(simulator, exchange, "1m", first)
    assert timeframe_run.result().rejected == ()

    async def failed_and_repeated() -> bool:
        logged = await simulator.requests(exchange)  # a slow response is logged when the connection closes
        return len(logged) >= 2 and logged[0]["mood"] == mood["kind"]

    await eventually(failed_and_repeated)


@pytest.mark.parametrize(
    ("exchange", "variant"),
    # Kraken allows one request a second, so its ten pages take ten seconds.
    [
        (exchange, variant)
        for exchange in EXCHANGES
        for variant in ("high_below_low", "nulls", "nan")
        if exchange != "kraken" or variant == "nan"
    ],
)
async def test_a_row_that_stays_impossible_is_rejected_and_the_other_candles_are_collected(
    exchange: str, variant: str, simulator: Simulator, exchanges: Exchanges
) -> None:
    await exchanges.warm_up(exchange)
    await simulator.add_mood("malformed", variant=variant, exchange=exchange)
    start = NOW - timedelta(minutes=30)
    timeframe_run = await exchanges.collect(exchange, "1m", start)
    expected = await expected_rows(simulator, exchange, "1m", start.replace(second=0) - timedelta(minutes=3))
    result = timeframe_run.result()
    bad = {int(row.open_time.timestamp() * 1000) for row in result.rejected}
    assert len(bad) == result.rejected_count > 0
    rows = sorted(rows_of(timeframe_run))
    missing = [row[0] for row in expected if row not in rows]
    assert set(missing) <= bad  # the simulator spoils other rows of an answer that begins elsewhere
    verified = [span.milliseconds() for span in result.verified]
    assert all(any(start <= row[0] < end for start, end in verified) for row in rows)
    assert not any(start <= at < end for at in missing for start, end in verified)


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize(
    ("mood", "error_class"),
    [
        ({"kind": "rate_limit"}, ErrorClass.RATE_LIMITED),
        ({"kind": "ban"}, ErrorClass.BANNED),
        ({"kind": "error", "status": 502}, ErrorClass.UNAVAILABLE),
        ({"kind": "html"}, ErrorClass.BAD_RESPONSE),
        ({"kind": "truncated"}, ErrorClass.BAD_RESPONSE),
        ({"kind": "reset"}, ErrorClass.NETWORK),
        ({"kind": "reset_mid_body"}, ErrorClass.NETWORK),
        ({"kind": "empty"}, ErrorClass.BAD_RESPONSE),
        ({"kind": "latency", "latency_ms": 5000}, ErrorClass.TIMEOUT),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
async def test_a_permanent_fault_fails_with_its_error_class(
    exchange: str,
    mood: dict[str, Any],
    error_class: ErrorClass,
    simulator: Simulator,
    exchanges_at: Callable[..., Exchanges],
) -> None:
    exchanges = exchanges_at(simulator.base, timeout=1.5 if mood["kind"] == "latency" else 10.0)
    await exchanges.warm_up(exchange)
    await simulator.add_mood(**mood, exchange=exchange)
    with pytest.raises(ExchangeFailure) as caught:
        await exchanges.collect(exchange, "1m", NOW - timedelta(minutes=30), policy=NO_RETRIES)
    assert caught.value.error_class is error_class, caught.value.message
    assert caught.value.retryable


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_an_html_page_instead_of_the_markets_is_not_stored(
    exchange: str, simulator: Simulator, exchanges: Exchanges
) -> None:
    await simulator.add_mood("html", exchange=exchange, count=2)
    with pytest.raises(ExchangeFailure) as caught:
        await exchanges.collect(exchange, policy=NO_RETRIES)
    assert caught.value.error_class is ErrorClass.BAD_RESPONSE
    timeframe_run = await exchanges.collect(exchange)
    assert rows_of(timeframe_run)


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_all_runs_of_an_exchange_respect_its_retry_after(
    form: str, simulator: Simulator, exchanges: Exchanges
) -> None:
    await exchanges.warm_up("binance")
    await simulator.add_mood("rate_limit", exchange="binance", count=1, retry_after=2, retry_after_form=form)
    first = asyncio.create_task(exchanges.collect("binance", "1m"))
    await eventually(lambda: simulator.requests("binance"))
    timeframe_runs = await asyncio.gather(first, *(exchanges.collect("binance", "1h") for _ in range(3)))
    assert all(len(rows_of(each)) == 999 for each in timeframe_runs)
    times = [each["received_at"] for each in await simulator.requests("binance")]
    shortest = 1900 if form == "seconds" else 1000  # a date contains whole seconds only
    assert times[1] - times[0] >= shortest
    assert len(times) == 5


async def test_a_ban_beyond_the_deadline_fails_at_once_and_causes_no_further_request(
    simulator: Simulator, exchanges: Exchanges
) -> None:
    await exchanges.warm_up("binance")
    await simulator.add_mood("ban", exchange="binance", retry_after=3600)
    for _ in range(3):
        with pytest.raises(ExchangeFailure, match="Retry-After until") as caught:
            await exchanges.collect("binance", policy=QUICK)
        assert caught.value.error_class is ErrorClass.BANNED
    assert len(await simulator.requests("binance")) == 1


async def test_requests_respect_the_exchanges_rate_limit(simulator: Simulator, exchanges: Exchanges) -> None:
    await asyncio.gather(*(exchanges.collect("kraken", timeframe) for timeframe in ("1m", "5m", "15m", "1h")))
    times = [each["received_at"] for each in await simulator.requests("kraken")]
    distances = [later - earlier for earlier, later in pairwise(times)]
    assert all(distance > 1100 for distance in distances[1:]), distances  # 1.2 s each; the first unit is free
    assert len(distances) == 3
    assert exchanges.count("candlekeep_rate_limit_wait_seconds_sum", exchange="kraken") > 1


async def test_a_run_with_few_pages_reads_the_newest_ones_and_later_runs_read_the_rest(
    simulator: Simulator, exchanges: Exchanges
) -> None:
    start = NOW - timedelta(hours=20)
    first = (await exchanges.collect("coinbase", "1m", start, max_pages=2)).result()
    assert first.pages == 2
    assert first.verified[-1].end == NOW.replace(second=0)
    hole = first.open_hole
    assert hole is not None
    assert (hole.absence_class, hole.end) == (AbsenceClass.UNREAD, first.verified[0].start)
    pending = PendingSpan(start=hole.start, end=hole.end)
    progress = SeriesProgress(timeframe="1m", anchor=first.anchor, pending=(pending,))
    second = (await exchanges.collect("coinbase", "1m", progress=progress, max_pages=5)).result()
    assert second.open_hole is None
    assert subtract([hole.milliseconds()], [span.milliseconds() for span in second.verified]) == ()
