"""The simulated trades: their ids are sequential, and the candles can be computed from them."""

from itertools import pairwise

from exchange_simulator.history import History
from exchange_simulator.pages import AS_USUAL, Page
from exchange_simulator.settings import SimulatorSettings
from exchange_simulator.synthetic import Caches
from exchange_simulator.tape import TapeTrade
from exchange_simulator.timeframes import DAY, FRAMES, HOUR, MINUTE
from exchange_simulator.venue import Venue

NOW = 1_748_865_630_000
"""2025-06-02 12:00:30 UTC."""
NOON = NOW // MINUTE * MINUTE


def a_venue() -> Venue:
    venue = Venue("binance", SimulatorSettings(), Caches())
    silences = ((NOON - 2 * DAY, NOON - DAY), (NOON - HOUR, NOON - HOUR + 3 * MINUTE))
    venue.set_history("BTC/USDT", History(fills=False, silent_share=0.3, silences=silences))
    return venue


def test_the_trades_of_each_minute_make_its_candle() -> None:
    venue = a_venue()
    market = venue.listing.by_symbol["BTC/USDT"]
    start = NOON - 2 * HOUR
    trades = venue.trades(market, (start, NOW), 1000, NOW, AS_USUAL)
    made: dict[int, list[TapeTrade]] = {}
    for each in trades:
        made.setdefault(each.at_ms // MINUTE * MINUTE, []).append(each)
    candles = venue.series(market).candles(FRAMES["1m"], start, NOON, NOW)
    assert [candle for candle in candles if candle.volume] == candles
    assert list(made) == [candle.open_ms for candle in candles]
    for candle, parts in zip(candles, made.values(), strict=True):
        prices = [each.price for each in parts]
        assert (prices[0], max(prices), min(prices), prices[-1]) == candle[1:5]
        assert sum(each.amount for each in parts) == candle.volume


def test_ids_follow_each_other_also_across_silences_and_days_and_do_not_depend_on_the_request() -> None:
    venue = a_venue()
    market = venue.listing.by_symbol["BTC/USDT"]
    long_ago = NOON - DAY - 20 * MINUTE
    tape = venue.trades(market, (long_ago, NOW), 5000, NOW, AS_USUAL)
    assert {two.id - one.id for one, two in pairwise(tape)} == {1}
    assert venue.trades(market, (tape[7].at_ms, NOW), 10, NOW, AS_USUAL) == tape[7:17]
    later = venue.trades(market, (tape[7].at_ms, NOW), 10, NOW + HOUR, AS_USUAL)
    assert later == tape[7:17]
    left_out = venue.trades(market, (long_ago, NOW), 10, NOW, Page(missing_trades=(tape[3].id,)))
    assert left_out == [*tape[:3], *tape[4:10]]


def test_the_number_of_trades_of_a_candle_is_that_of_its_tape() -> None:
    venue = a_venue()
    market = venue.listing.by_symbol["BTC/USDT"]
    for length in (MINUTE, 5 * MINUTE, HOUR):
        span = (NOON - 2 * HOUR, NOON - 2 * HOUR + length)
        assert venue.count_trades(market, span, NOW) == len(venue.trades(market, span, 1000, NOW, AS_USUAL))
    assert venue.count_trades(market, (NOON, NOON + MINUTE), NOW) == 0, "the open minute has no trades yet"


def test_a_falsified_trade_has_a_price_that_is_a_tick_too_high() -> None:
    venue = a_venue()
    market = venue.listing.by_symbol["BTC/USDT"]
    asked = (NOON - 2 * HOUR, NOW)
    tape = venue.trades(market, asked, 10, NOW, AS_USUAL)
    falsified = venue.trades(market, asked, 10, NOW, Page(falsified_trades=(tape[3].id,)))
    assert falsified == [*tape[:3], tape[3]._replace(price=tape[3].price + 1), *tape[4:]]
