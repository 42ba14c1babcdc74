from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from exchange_simulator.aggregate import Candle, group, merge
from exchange_simulator.markets import EXCHANGES, Market, list_markets
from exchange_simulator.synthetic import Caches, SeriesParameters, SyntheticSeries
from exchange_simulator.timeframes import DAY, FRAMES, HOUR, MINUTE, Frame, at_utc_offset

CACHES = Caches()
MARKETS = [market for exchange in EXCHANGES for market in list_markets(exchange).markets]
YEAR_2100 = 4_102_444_800_000
instants = st.integers(min_value=2 * DAY, max_value=YEAR_2100)
markets = st.sampled_from(MARKETS)
shares = st.sampled_from([0.0, 0.02, 0.5, 0.9])


def a_series(
    market: Market, *, seed: int = 7, silent_share: float = 0.0, omits_silent: bool = False, caches: Caches = CACHES
) -> SyntheticSeries:
    return SyntheticSeries(SeriesParameters(seed, market, silent_share, omits_silent), caches)


def closed(series: SyntheticSeries, frame: Frame, start: int, stop: int) -> list[Candle]:
    return series.candles(frame, start, stop, stop)


@settings(max_examples=60, deadline=None)
@given(instants, markets, shares, st.booleans())
def test_an_hour_is_exactly_the_aggregate_of_its_minutes(
    instant: int, market: Market, share: float, omits: bool
) -> None:
    series = a_series(market, silent_share=share, omits_silent=omits)
    open_ms = FRAMES["1h"].floor(instant)
    minutes = closed(series, FRAMES["1m"], open_ms, open_ms + HOUR)
    assert closed(series, FRAMES["1h"], open_ms, open_ms + HOUR) == [merge(open_ms, minutes)]


@settings(max_examples=40, deadline=None)
@given(instants, markets, st.sampled_from(["3m", "5m", "30m", "4h", "6h", "8h", "12h", "1d"]))
def test_every_frame_is_the_aggregate_of_its_minutes(instant: int, market: Market, name: str) -> None:
    frame, series = FRAMES[name], a_series(market, silent_share=0.02)
    open_ms = frame.floor(instant)
    stop = frame.plus(open_ms, 1)
    assert closed(series, frame, open_ms, stop) == group(frame, closed(series, FRAMES["1m"], open_ms, stop))


@settings(max_examples=30, deadline=None)
@given(instants, markets, st.sampled_from(["3d", "1w", "2w", "1M", "3M"]), st.sampled_from([0, 8]))
def test_long_frames_are_the_aggregate_of_their_hours_in_either_time_zone(
    instant: int, market: Market, name: str, offset: int
) -> None:
    frame, series = at_utc_offset(FRAMES[name], offset), a_series(market)
    open_ms = frame.plus(frame.floor(instant), 1)
    stop = frame.plus(open_ms, 1)
    assert closed(series, frame, open_ms, stop) == group(frame, closed(series, FRAMES["1h"], open_ms, stop))


@settings(max_examples=40, deadline=None)
@given(instants, markets)
def test_a_minute_is_the_aggregate_of_its_seconds(instant: int, market: Market) -> None:
    series = a_series(market, silent_share=0.1)
    open_ms = FRAMES["1m"].floor(instant)
    seconds = closed(series, FRAMES["1s"], open_ms, open_ms + MINUTE)
    assert len(seconds) == 60
    assert closed(series, FRAMES["1m"], open_ms, open_ms + MINUTE) == [merge(open_ms, seconds)]


@settings(max_examples=60, deadline=None)
@given(instants, markets, shares)
def test_candles_are_valid_and_each_opens_at_the_close_of_the_one_before(
    instant: int, market: Market, share: float
) -> None:
    series = a_series(market, silent_share=share)
    start = FRAMES["1m"].floor(instant)
    candles = closed(series, FRAMES["1m"], start, start + 90 * MINUTE)
    assert [candle.open_ms for candle in candles] == list(range(start, start + 90 * MINUTE, MINUTE))
    for candle in candles:
        assert 0 < candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high
        assert candle.volume >= 0
        if candle.volume == 0:
            assert candle.low == candle.high
    for before, after in pairwise(candles):
        assert before.close == after.open


@settings(max_examples=30, deadline=None)
@given(instants, markets, st.integers(0, 1_000))
def test_a_candle_does_not_depend_on_earlier_requests(instant: int, market: Market, seed: int) -> None:
    start = FRAMES["1m"].floor(instant)
    warm = a_series(market, seed=seed)
    closed(warm, FRAMES["1h"], start - 5 * HOUR, start + 5 * HOUR)
    whole = closed(warm, FRAMES["1m"], start, start + HOUR)
    cold = a_series(market, seed=seed, caches=Caches())
    assert closed(cold, FRAMES["1m"], start + 10 * MINUTE, start + 20 * MINUTE) == whole[10:20]


def test_seed_exchange_and_symbol_change_the_candles() -> None:
    binance, kraken = list_markets("binance").by_symbol, list_markets("kraken").by_symbol
    variants = [
        a_series(binance["BTC/USDT"]),
        a_series(binance["BTC/USDT"], seed=8),
        a_series(binance["BTC/USDC"]),
        a_series(kraken["BTC/USDT"]),
    ]
    results = {tuple(closed(series, FRAMES["1m"], 0, HOUR)) for series in variants}
    assert len(results) == len(variants)


@settings(max_examples=60, deadline=None)
@given(instants, st.sampled_from([("1m", "1s"), ("5m", "1m"), ("1h", "1m"), ("1d", "5m"), ("1w", "1h"), ("1M", "1d")]))
def test_the_open_candle_contains_the_data_up_to_now(now: int, names: tuple[str, str]) -> None:
    frame, finer = (FRAMES[name] for name in names)
    series = a_series(list_markets("binance").by_symbol["ETH/USDT"])
    open_ms = frame.floor(now)
    (so_far,) = series.candles(frame, open_ms, now + 1, now)
    (whole,) = closed(series, frame, open_ms, frame.plus(open_ms, 1))
    assert (so_far.open_ms, so_far.open) == (whole.open_ms, whole.open)
    assert whole.low <= so_far.low <= so_far.high <= whole.high
    assert so_far.volume <= whole.volume
    assert so_far == merge(open_ms, series.candles(finer, open_ms, now + 1, now))


def test_no_candle_opens_after_now_or_in_an_empty_range() -> None:
    series = a_series(MARKETS[0])
    now = 1_700_000_030_000
    assert series.candles(FRAMES["1m"], now, now + HOUR, now) == []
    assert series.candles(FRAMES["1m"], now, now - HOUR, now) == []


def test_the_configured_share_of_minutes_is_omitted() -> None:
    market = list_markets("coinbase").by_symbol["SOL/USD"]
    start = 1_700_006_400_000
    shown = closed(a_series(market, silent_share=0.1, omits_silent=True), FRAMES["1m"], start, start + 2 * DAY)
    assert 0.85 < len(shown) / 2_880 < 0.95
    padded = closed(a_series(market, silent_share=0.1), FRAMES["1m"], start, start + 2 * DAY)
    assert len(padded) == 2_880
    assert [candle for candle in padded if candle.volume] == shown


def test_prices_are_near_the_usual_price_of_the_asset() -> None:
    for exchange in EXCHANGES:
        for market in list_markets(exchange).markets:
            (day,) = closed(a_series(market), FRAMES["1d"], 20_000 * DAY, 20_001 * DAY)
            price = day.close / 10**market.price_decimals
            assert market.price / 2 < price < market.price * 2, market.symbol
            assert day.close >= 500, f"{market.symbol} has a tick that is too coarse for its price"


def test_a_thousand_days_need_a_thousand_evaluations() -> None:
    caches = Caches()
    candles = closed(a_series(MARKETS[0], caches=caches), FRAMES["1d"], 15_000 * DAY, 16_000 * DAY)
    assert len(candles) == 1_000
    assert caches.day.cache_info().misses == 1_000
    assert caches.children.cache_info().misses == 0


def test_merge_keeps_the_first_open_and_the_last_close() -> None:
    parts = [Candle(0, 5, 9, 4, 6, 1), Candle(1, 6, 7, 2, 3, 10)]
    assert merge(0, parts) == Candle(0, 5, 9, 2, 3, 11)
