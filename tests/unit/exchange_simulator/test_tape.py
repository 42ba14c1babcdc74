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
