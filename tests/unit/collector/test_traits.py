"""The table of exchanges: every fact has a source, and an exchange without a row gets the safe defaults."""

import re
from dataclasses import fields

import ccxt.async_support
import pytest

from collector.exchange.catalogue.comparing import CandleCall, HttpRequest
from collector.exchange.catalogue.generate import NOW, sends_start_of_trades
from collector.exchange.catalogue.recording import RequestRecorder
from collector.exchange.traits import ExchangeTraits
from collector.exchange.traits_table import TRAITS, traits_of
from contracts.exchange_catalogue import MarketKind, RequestKind, RowOrder, load_catalogue
from contracts.timeframes import floor_open, longest_length, shift

SPOT, LINEAR, INVERSE = MarketKind
FACTS = {each.name for each in fields(ExchangeTraits)} - {"sources", "requests", "trades_since", "needs_credentials"}
ROWS = pytest.mark.parametrize("exchange", TRAITS)


@ROWS
def test_every_fact_that_differs_from_the_default_has_a_source(exchange: str) -> None:
    row, default = TRAITS[exchange], ExchangeTraits()
    changed = {name for name in FACTS if getattr(row, name) != getattr(default, name)}
    assert changed <= set(row.sources) <= FACTS
    assert all(source.strip() for source in row.sources.values())


@ROWS
def test_every_row_is_an_exchange_of_ccxt(exchange: str) -> None:
    assert exchange in ccxt.exchanges


@ROWS
def test_no_row_states_what_the_catalogue_states(exchange: str) -> None:
    assert not TRAITS[exchange].requests
    assert not TRAITS[exchange].needs_credentials
    assert not TRAITS[exchange].trades_since


def test_an_exchange_without_a_row_gets_the_defaults() -> None:
    traits = traits_of("no such exchange")
    assert traits == ExchangeTraits()
    assert (traits.page_limit(SPOT, "1m"), traits.request_kind(SPOT, "1m")) == (100, RequestKind.UNKNOWN)
    assert not traits.honours_since(SPOT, "1m")
    assert not traits.honours_until(SPOT)
    assert traits.ccxt_arguments(SPOT, "1m", 5, 100) == (5, 100)


@pytest.mark.parametrize(
    ("exchange", "kind", "timeframe", "request_kind", "page"),
    [
        pytest.param("mexc", SPOT, "1m", RequestKind.WINDOW, 500, id="ccxt says 1000"),
        pytest.param("coinbaseexchange", SPOT, "1m", RequestKind.WINDOW, 299, id="the first candle counts twice"),
        pytest.param("bitget", LINEAR, "1h", RequestKind.WINDOW, 200, id="a page of hours"),
        pytest.param("bitget", LINEAR, "1d", RequestKind.WINDOW, 90, id="90 days at most"),
        pytest.param("bitget", INVERSE, "1w", RequestKind.WINDOW, 13, id="90 days are 13 weeks"),
        pytest.param("btcmarkets", SPOT, "1m", RequestKind.START_ONLY, 200, id="ccxt lowers the limit"),
        pytest.param("binance", SPOT, "1m", RequestKind.START_ONLY, 1000, id="the largest page"),
        pytest.param("binance", LINEAR, "1m", RequestKind.START_ONLY, 500, id="another page for swaps"),
        pytest.param("binance", INVERSE, "1m", RequestKind.WINDOW, 500, id="another request for inverse swaps"),
        pytest.param("kraken", SPOT, "1m", RequestKind.START_ONLY, 720, id="the page of ccxt's metadata"),
        pytest.param("bithumb", SPOT, "1m", RequestKind.NO_SINCE, 200, id="no start"),
        pytest.param("htx", LINEAR, "1m", RequestKind.NO_SINCE, 1000, id="a start that the exchange ignores"),
        pytest.param("bitbank", SPOT, "1m", RequestKind.DAY_FILE, 1000, id="a file per day"),
        pytest.param("bitbank", SPOT, "1h", RequestKind.DAY_FILE, 24, id="no more candles than a day has"),
        pytest.param("upbit", SPOT, "1m", RequestKind.END_ONLY, 200, id="an end without a start"),
        pytest.param("hyperliquid", LINEAR, "1m", RequestKind.START_TO_NOW, 1000, id="up to now"),
        pytest.param("kraken", LINEAR, "1m", RequestKind.UNKNOWN, 100, id="no such market"),
        pytest.param("binance", None, "1m", RequestKind.UNKNOWN, 100, id="a market with an expiry date"),
        pytest.param("luno", SPOT, "1m", RequestKind.UNKNOWN, 100, id="no request without keys"),
    ],
)
def test_requests_come_from_the_catalogue(
    exchange: str, kind: MarketKind | None, timeframe: str, request_kind: RequestKind, page: int
) -> None:
    traits = traits_of(exchange)
    assert traits.request_kind(kind, timeframe) is request_kind
    assert traits.page_limit(kind, timeframe) == page


def test_the_parameter_until_is_honoured_by_some_exchanges() -> None:
    assert traits_of("binance").honours_until(SPOT)
    assert traits_of("nado").honours_until(SPOT)
    assert not traits_of("kraken").honours_until(SPOT)
    assert not traits_of("bithumb").honours_until(SPOT)
    assert not traits_of("binance").honours_until(None)


@pytest.mark.parametrize(
    ("exchange", "needed"), [("luno", True), ("alpaca", True), ("woofipro", True), ("kraken", False), ("bigone", False)]
)
def test_exchanges_that_need_credentials_are_known(exchange: str, needed: bool) -> None:
    assert traits_of(exchange).needs_credentials is needed


def test_facts_about_answers_that_change_the_reading() -> None:
    assert traits_of("ndax").labels_close
    assert traits_of("kraken").candle_lengths == {"2w": 15 * 86_400_000}
    assert traits_of("hitbtc").order is RowOrder.NEWEST
    assert (traits_of("binance").fills_silence, traits_of("upbit").fills_silence) == (True, False)
    assert traits_of("okx").fills_silence is None


@pytest.mark.parametrize(
    ("exchange", "kinds"),
    [
        ("binance", {SPOT, LINEAR, INVERSE}),
        ("bitfinex", {SPOT, LINEAR}),
        ("bitstamp", set()),
        ("coinbase", {SPOT, LINEAR}),
        ("krakenfutures", {LINEAR, INVERSE}),
        ("okx", set()),
    ],
)
def test_the_catalogue_says_for_which_markets_ccxt_requests_trades_from_a_time_on(
    exchange: str, kinds: set[MarketKind]
) -> None:
    traits = traits_of(exchange)
    assert traits.trades_since == kinds
    for kind in traits.requests:
        recorder = RequestRecorder(getattr(ccxt.async_support, exchange), kind)
        assert sends_start_of_trades(recorder, needs_end=traits.trades_need_end) is (kind in kinds)


def test_ids_of_trades_are_used_only_if_some_trades_can_be_requested() -> None:
    with_ids = [traits for traits in map(traits_of, TRAITS) if traits.sequential_trade_ids]
    assert all(each.trades_since or each.newest_trades_ms for each in with_ids)
    assert traits_of("bitstamp").newest_trades_ms == 3_600_000


@pytest.mark.parametrize("exchange", sorted(load_catalogue().exchanges))
def test_the_request_that_ccxt_builds_covers_the_page(exchange: str) -> None:
    """With the collector's arguments. It reads the times in the requests without the code that made the catalogue."""
    traits = traits_of(exchange)
    for kind, by_timeframe in traits.requests.items():
        recorder = RequestRecorder(getattr(ccxt.async_support, exchange), kind)
        for timeframe in by_timeframe.keys() & {"1m", "1h", "1d", "1w", "1M"}:
            page = traits.page_limit(kind, timeframe)
            if traits.honours_since(kind, timeframe):
                for limit in {2, page // 2, page} - {0, 1}:
                    check_coverage(recorder, traits, timeframe, limit)


def check_coverage(recorder: RequestRecorder, traits: ExchangeTraits, timeframe: str, limit: int) -> None:
    """All times are in seconds."""
    since = floor_open(timeframe, NOW - (limit + 7) * longest_length(timeframe))
    call = CandleCall(timeframe, NOW, *traits.ccxt_arguments(recorder.kind, timeframe, since, limit))
    request = recorder.request_of(call)
    assert isinstance(request, HttpRequest)
    numbers = re.findall(r"(?<!\d)(\d{9,10})(?:\d{3}|\d{9})?(?!\d)", f"{request.url} {request.body}")
    times = [time for each in numbers if (time := int(each)) < NOW // 1000]
    if not times:
        return  # the request names its times in another form
    starts = [time for time in times if time <= since // 1000]
    assert starts, f"the request begins after {since}: {request}"
    last_open = shift(timeframe, since, limit - 1) // 1000
    ends = [time for time in times if time not in starts]
    assert all(end >= last_open for end in ends), f"the request ends before {last_open}: {request}"
