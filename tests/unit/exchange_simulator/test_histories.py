"""Histories of markets: the candles that exist, at every timeframe."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from exchange_simulator.aggregate import Candle, group
from exchange_simulator.history import NO_HISTORY, History, LivedSeries, Status, joined
from exchange_simulator.markets import list_markets
from exchange_simulator.replay import ReplaySeries
from exchange_simulator.series import Series
from exchange_simulator.synthetic import Caches, SeriesParameters, SyntheticSeries
from exchange_simulator.timeframes import DAY, FRAMES, HOUR, MINUTE, Frame

M1 = FRAMES["1m"]
MIDNIGHT = 1_760_054_400_000 // DAY * DAY
MARKET = list_markets("coinbase").by_symbol["BTC/USD"]
OMITTING = SyntheticSeries(SeriesParameters(7, MARKET, 0.2, True), Caches())
FILLING = SyntheticSeries(SeriesParameters(7, MARKET, 0.2, False), Caches())
RECORDED = ReplaySeries(M1, OMITTING.candles(M1, MIDNIGHT - DAY, MIDNIGHT + 2 * DAY, MIDNIGHT + 3 * DAY), 2, 8)


def lived(*, fills: bool, series: Series | None = None, **facts: Any) -> LivedSeries:
    return LivedSeries(series or (FILLING if fills else OMITTING), History(**facts), fills=fills)


def closed(series: Series, frame: Frame, start: int, stop: int) -> list[Candle]:
    return series.candles(frame, start, stop, stop)


def test_a_new_market_has_no_candles_before_its_listing() -> None:
    listed = MIDNIGHT + 10 * HOUR + 5 * MINUTE
    series = lived(fills=True, listed=listed)
    assert closed(series, M1, MIDNIGHT, MIDNIGHT + 12 * HOUR) == closed(FILLING, M1, listed, MIDNIGHT + 12 * HOUR)
    hours = closed(series, FRAMES["1h"], MIDNIGHT, MIDNIGHT + 12 * HOUR)
    assert [hour.open_ms for hour in hours] == [MIDNIGHT + 10 * HOUR, MIDNIGHT + 11 * HOUR]
    (day,) = closed(series, FRAMES["1d"], MIDNIGHT, MIDNIGHT + DAY)
    assert day.volume == sum(candle.volume for candle in closed(FILLING, M1, listed, MIDNIGHT + DAY))


def test_a_delisted_market_has_no_candles_from_then_on() -> None:
    series = lived(fills=True, delisted=MIDNIGHT + HOUR)
    assert closed(series, M1, MIDNIGHT, MIDNIGHT + DAY) == closed(FILLING, M1, MIDNIGHT, MIDNIGHT + HOUR)


def test_a_silence_of_forty_hours_is_omitted_and_trades_follow() -> None:
    silence = MIDNIGHT - 40 * HOUR, MIDNIGHT
    series = lived(fills=False, silences=(silence,))
    opens = [candle.open_ms for candle in closed(series, M1, MIDNIGHT - 2 * DAY, MIDNIGHT + HOUR)]
    assert not [open_ms for open_ms in opens if silence[0] <= open_ms < silence[1]]
    assert min(opens) < silence[0] < silence[1] < max(opens)


def test_a_silence_is_filled_with_flat_candles_at_the_last_price() -> None:
    silence = MIDNIGHT + 30_000, MIDNIGHT + HOUR - 30_000
    candles = closed(lived(fills=True, silences=(silence,)), M1, MIDNIGHT - MINUTE, MIDNIGHT + HOUR)
    before, *flat = candles
    assert len(flat) == 60
    assert all(candle[1:] == (before.close,) * 4 + (0,) for candle in flat)


def test_a_candle_of_which_only_silent_minutes_remain_is_omitted() -> None:
    silent = next(one.open_ms for one in closed(FILLING, M1, MIDNIGHT, MIDNIGHT + DAY) if not one.volume)
    open_ms = FRAMES["5m"].floor(silent)
    around = ((open_ms, silent), (silent + MINUTE, open_ms + 5 * MINUTE))
    series = lived(fills=False, silences=tuple(span for span in around if span[0] < span[1]))
    assert closed(series, FRAMES["5m"], open_ms, open_ms + 5 * MINUTE) == []


def test_a_silence_without_a_trade_before_it_has_no_candles() -> None:
    series = lived(fills=True, listed=MIDNIGHT, silences=((MIDNIGHT, MIDNIGHT + HOUR),))
    assert closed(series, M1, MIDNIGHT, MIDNIGHT + HOUR) == []


def test_the_open_candle_has_the_trades_up_to_now() -> None:
    now = MIDNIGHT + 30 * MINUTE + 15_000
    for fills in (True, False):
        whole = FILLING if fills else OMITTING
        series = lived(fills=fills, silences=((MIDNIGHT + 20 * MINUTE, MIDNIGHT + 30 * MINUTE),))
        (hour,) = series.candles(FRAMES["1h"], MIDNIGHT, MIDNIGHT + HOUR, now)
        parts = whole.candles(M1, MIDNIGHT, MIDNIGHT + 20 * MINUTE, now)
        parts += whole.candles(M1, MIDNIGHT + 30 * MINUTE, now + 1, now)
        assert hour.volume == sum(part.volume for part in parts)
        (silent,) = lived(fills=True, silences=((MIDNIGHT, MIDNIGHT + DAY),)).candles(M1, now - 15_000, now, now)
        assert silent.volume == 0


def test_the_same_holds_for_recordings() -> None:
    silence = MIDNIGHT + 10 * MINUTE, MIDNIGHT + 50 * MINUTE
    series = lived(fills=False, series=RECORDED, silences=(silence,))
    stop = MIDNIGHT + HOUR
    rest = [row for row in closed(RECORDED, M1, MIDNIGHT, stop) if not silence[0] <= row.open_ms < silence[1]]
    assert closed(series, M1, MIDNIGHT, stop) == rest
    assert closed(series, FRAMES["1h"], MIDNIGHT, stop) == group(FRAMES["1h"], rest)
    now = silence[1] + 30_000
    (hour,) = series.candles(FRAMES["1h"], MIDNIGHT, stop, now)
    assert hour.close == RECORDED.candles(M1, silence[1], now, now)[0].close


minute = st.integers(-600, 2_000).map(lambda number: MIDNIGHT + number * MINUTE)
silences = st.lists(
    st.tuples(minute, st.sampled_from([1, 7, 60, 90, 600])).map(lambda one: (one[0], one[0] + one[1] * MINUTE)),
    max_size=4,
).map(tuple)


@settings(max_examples=150, deadline=None)
@given(
    silences,
    st.integers(-500, 900),
    st.integers(60, 1_500),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["5m", "1h", "4h", "1d"]),
    st.sampled_from([0, 8, -5]),
)
def test_every_timeframe_is_the_aggregate_of_its_minutes(
    silent: Any, listed: int, life: int, fills: bool, recorded: bool, name: str, offset: int
) -> None:
    begin = MIDNIGHT + listed * MINUTE
    facts = {"silences": silent, "listed": begin, "delisted": begin + life * MINUTE, "utc_offset_hours": offset}
    series = lived(fills=fills, series=RECORDED if recorded else None, **facts)
    frame = History(**facts).frame(FRAMES[name])
    start, stop = frame.floor(MIDNIGHT), frame.plus(frame.floor(MIDNIGHT), 3)
    minutes = closed(series, M1, start, stop)
    assert closed(series, frame, start, stop) == group(frame, minutes)
    usual = RECORDED if recorded else FILLING if fills else OMITTING
    traded = [
        candle
        for candle in closed(usual, M1, max(start, begin), min(stop, facts["delisted"]))
        if not any(one[0] <= candle.open_ms < one[1] for one in silent)
    ]
    assert [candle for candle in minutes if candle.volume] == [candle for candle in traded if candle.volume]
    if fills and not recorded and traded:
        assert len([candle for candle in minutes if candle.open_ms >= traded[0].open_ms]) == (
            (min(stop, facts["delisted"]) - traded[0].open_ms) // MINUTE
        )


def test_days_open_by_another_zone_and_hours_do_not() -> None:
    history = History(utc_offset_hours=8)
    assert history.frame(FRAMES["1d"]).floor(MIDNIGHT) == MIDNIGHT - 8 * HOUR
    assert history.frame(FRAMES["1h"]) is FRAMES["1h"]
    assert NO_HISTORY.frame(FRAMES["1d"]) is FRAMES["1d"]


def test_the_facts_about_a_market_come_on_top_of_those_about_the_exchange() -> None:
    exchange = History(fills=False, silences=((0, MINUTE),), silent_share=0.5)
    market = History(silences=((HOUR, DAY),), silent_share=0.1, status=Status.INACTIVE)
    assert joined(exchange, market) == History(
        fills=False, silences=((0, MINUTE), (HOUR, DAY)), silent_share=0.1, status=Status.INACTIVE
    )


@pytest.mark.parametrize(
    "facts",
    [
        {"silences": ((5, 5),)},
        {"silent_share": 1},
        {"utc_offset_hours": 24},
        {"status": "gone"},
        {"listed": "soon"},
        {"unknown": 1},
    ],
)
def test_invalid_facts_are_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        History(**facts)
