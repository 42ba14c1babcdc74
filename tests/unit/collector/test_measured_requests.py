"""The catalogue agrees with requests of 69 exchanges that were read by hand, at 1m, from ccxt 4.5.90.

After an update of ccxt, read the request of an exchange that differs, and correct its line.
"""

import pytest

from contracts.exchange_catalogue import CandleRequest, CannotCollect, MarketKind, RequestKind, load_catalogue

MEASURED = """
alpaca | start_only | start_only
apex | start_only | start_only
aster | start_only | start_only
backpack | window 1000 | window 100
bequant | start_only | start_only
bigone | end_only 500 | -
binance | start_only | start_only
binancecoinm | start_only | start_only
binanceus | start_only | start_only
binanceusdm | - | start_only
bingx | start_only | start_only
bitbank | day_file | day_file
bitfinex | start_only | start_only
bitget | window 200 | window 200
bithumb | no_since | no_since
bitopro | window 1000 | window 100
bitso | window 300 | window 100
bittrade | no_since | no_since
bitvavo | window 1000 | window 100
blofin | window 1000 | window 1000
btcmarkets | start_only | start_only
btse | start_only | start_only
bybit | start_only | start_only
bybiteu | start_only | start_only
bybitid | start_only | start_only
bydfi | window 100 | window 500
coinbase | window 300 | window 300
coinbaseexchange | window 299 | window 99
coinbaseinternational | window 300 | window 300
coinsph | window 999 | window 99
cryptocom | window 300 | window 300
deribit | window 1000 | window 1000
derive | window 1000 | window 1000
dydx | start_only | start_only
fmfwio | start_only | start_only
foxbit | start_only | start_only
grvt | start_only | start_only
hashkey | start_only | start_only
hibachi | start_only | start_only
hitbtc | start_only | start_only
hollaex | start_to_now | start_to_now
htx | start_only | no_since
hyperliquid | start_to_now | start_to_now
indodax | start_to_now | start_to_now
kraken | start_only | start_only
krakenfutures | window 100 | window 1000
kucoin | window 1000 | window 500
kucoinfutures | window 1000 | window 500
lbank | start_only | start_only
lighter | window 100 | window 100
luno | - | -
mercado | window 1000 | window 100
mexc | window 500 | start_only
myokx | window 300 | window 100
ndax | window 100 | window 100
okx | window 300 | window 300
okxus | window 300 | window 300
onetrading | window 1000 | window 100
pacifica | window 100 | window 1000
paradex | window 101 | window 1001
poloniex | start_only | start_only
polymarket | start_only | start_only
revolutx | start_to_now | start_to_now
tokocrypto | start_only | start_only
toobit | start_only | start_only
upbit | end_only 200 | end_only 100
whitebit | start_only | start_only
woo | start_only | start_only
xt | start_only | start_only
"""
"""Exchange, then the request for spot markets and for linear swaps: its kind, and the number of candles in a window. A
minus: ccxt builds no request. Markets that an exchange does not have are not compared. HTX ignores the window in its
requests for swaps, which counts as no start."""

NO_MARKETS_WITHOUT_KEYS = {"alpaca"}
"""ccxt builds their requests for candles, but needs credentials for the list of markets."""


def expected(text: str) -> tuple[RequestKind | None, int | None]:
    kind, _, width = text.partition(" ")
    return None if kind == "-" else RequestKind(kind), int(width) if width else None


@pytest.mark.parametrize("line", MEASURED.strip().splitlines())
def test_the_catalogue_agrees_with_the_measured_request(line: str) -> None:
    exchange, spot, linear = (part.strip() for part in line.split("|"))
    requests = load_catalogue().exchanges[exchange].requests
    compared = 0
    for kind, text in ((MarketKind.SPOT, spot), (MarketKind.LINEAR, linear)):
        if (by_timeframe := requests.get(kind)) is None:
            continue
        found = by_timeframe.get("1m") or next(iter(by_timeframe.values()))
        request_kind, width = expected(text)
        compared += 1
        if request_kind is None or exchange in NO_MARKETS_WITHOUT_KEYS:
            assert isinstance(found, CannotCollect)
            continue
        assert isinstance(found, CandleRequest)
        assert found.kind is request_kind
        if width is not None:
            assert found.page == min(width, found.limit)
    assert compared
