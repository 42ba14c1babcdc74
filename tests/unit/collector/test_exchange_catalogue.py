"""The catalogue of requests is found by comparison, for every use of `since`, `limit` and `until` in ccxt's classes."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import ccxt.async_support
import pytest
from ccxt.base.errors import AuthenticationError
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.exchange.catalogue.comparing import CandleCall, HttpRequest, candle_request, fields_of, instant_of
from collector.exchange.catalogue.generate import NOW
from collector.exchange.catalogue.recording import RequestRecorder, markets_refusal
from contracts.exchange_catalogue import (
    CandleRequest,
    CannotCollect,
    MarketKind,
    RequestKind,
    load_catalogue,
    market_kind,
)
from contracts.timeframes import floor_open, parse_timeframe, shift

DAY = 86_400_000


@dataclass(frozen=True)
class RequestBuilder:
    """Builds requests in one of the ways that classes of ccxt do."""

    unit: str = "ms"
    sends_start: bool = True
    start_shift: int = 0
    """Candles by which the start is moved."""
    rounds_up_to: int = 1
    end: str = "none"
    """`none`, `limit`, `limit-1`, `now`, or `at_most:<ms>`."""
    width: int | None = None
    """The end is this number of candles after the start, for any limit."""
    largest_count: int = 10_000
    sends_count: bool = True
    old_largest_count: int = 10_000
    """The largest count for candles that are older than a month."""
    passes_until: bool = True
    in_body: bool = False

    def __call__(self, call: CandleCall) -> HttpRequest:
        nominal = parse_timeframe(call.timeframe).nominal_ms
        start = -(-(call.since + self.start_shift * nominal) // self.rounds_up_to) * self.rounds_up_to
        is_old = call.since < call.now - 30 * DAY
        limit = min(call.limit, self.largest_count, self.old_largest_count if is_old else self.largest_count)
        fields: dict[str, str] = {"symbol": "BTCUSDT", "interval": call.timeframe, "timestamp": str(call.now)}
        if self.sends_count:
            fields["limit"] = str(limit)
        if self.sends_start:
            fields["from"] = self._text(start)
        end = self._end(call, limit, nominal)
        if call.until is not None and self.passes_until:
            end = call.until
        if end is not None:
            fields["to"] = self._text(end)
        if call.until is not None and not self.passes_until:
            fields["until"] = str(call.until)
        if self.in_body:
            return HttpRequest("https://api.example.com/v1/candles", str(fields).replace("'", '"'))
        return HttpRequest("https://api.example.com/v1/candles?" + "&".join(f"{k}={v}" for k, v in fields.items()))

    def _end(self, call: CandleCall, limit: int, nominal: int) -> int | None:
        if self.width is not None:
            return call.since + self.width * nominal
        match self.end.partition(":"):
            case "none", _, _:
                return None
            case "now", _, _:
                return call.now
            case "limit", _, _:
                return call.since + limit * nominal
            case "limit-1", _, _:
                return call.since + (limit - 1) * nominal
            case _, _, longest:
                return call.since + min(limit * nominal, int(longest))

    def _text(self, instant: int) -> str:
        match self.unit:
            case "s":
                return str(instant // 1000)
            case "ns":
                return str(instant * 1_000_000)
            case "iso":
                return datetime.fromtimestamp(instant / 1000, UTC).isoformat().replace("+00:00", "Z")
            case "day":
                return datetime.fromtimestamp(instant / 1000, UTC).strftime("%Y%m%d")
            case _:
                return str(instant)


def found(builder: RequestBuilder, timeframe: str = "1m", claimed: int = 1000) -> CandleRequest:
    request = candle_request(builder, timeframe, NOW, claimed)
    assert isinstance(request, CandleRequest)
    return request


@pytest.mark.parametrize(
    ("builder", "kind"),
    [
        (RequestBuilder(), RequestKind.START_ONLY),
        (RequestBuilder(end="limit"), RequestKind.WINDOW),
        (RequestBuilder(end="now"), RequestKind.START_TO_NOW),
        (RequestBuilder(sends_start=False), RequestKind.NO_SINCE),
        (RequestBuilder(sends_start=False, end="now"), RequestKind.NO_SINCE),
        (RequestBuilder(sends_start=False, end="limit"), RequestKind.END_ONLY),
        (RequestBuilder(unit="day"), RequestKind.DAY_FILE),
    ],
)
@pytest.mark.parametrize("unit", ["ms", "s", "ns", "iso"])
@pytest.mark.parametrize("in_body", [False, True])
def test_the_kind_of_a_request_is_found(builder: RequestBuilder, kind: RequestKind, unit: str, in_body: bool) -> None:
    unit = builder.unit if builder.unit == "day" else unit
    assert found(replace(builder, unit=unit, in_body=in_body)).kind is kind


@pytest.mark.parametrize(
    ("builder", "timeframe", "page", "limit"),
    [
        pytest.param(RequestBuilder(end="limit"), "1m", 1000, 1000, id="the window of the limit"),
        pytest.param(RequestBuilder(width=500), "1m", 500, 500, id="a fixed window that is narrower than the limit"),
        pytest.param(RequestBuilder(end="limit-1"), "1m", 999, 1000, id="the first candle counts twice"),
        pytest.param(RequestBuilder(largest_count=200), "1h", 200, 200, id="the count is capped"),
        pytest.param(RequestBuilder(old_largest_count=100), "1h", 100, 100, id="old candles have a smaller page"),
        pytest.param(RequestBuilder(end=f"at_most:{90 * DAY}"), "1d", 90, 90, id="90 days at most"),
        pytest.param(RequestBuilder(end=f"at_most:{90 * DAY}"), "1M", 3, 3, id="90 days are three months at most"),
        pytest.param(RequestBuilder(end="limit"), "1M", 291, 295, id="months of 30 days fall behind the calendar"),
        pytest.param(RequestBuilder(sends_count=False), "1m", 1000, 1000, id="neither count nor end"),
    ],
)
def test_a_page_is_as_wide_as_the_request_really_is(
    builder: RequestBuilder, timeframe: str, page: int, limit: int
) -> None:
    request = found(builder, timeframe)
    assert (request.page, request.limit) == (page, limit)


def test_a_start_that_is_rounded_up_is_found() -> None:
    """Weeks of the epoch begin on Thursdays: a request from a Monday on would miss the first candle."""
    request = found(RequestBuilder(rounds_up_to=7 * DAY), "1w")
    assert request.starts_late
    assert (request.kind, request.page, request.limit) == (RequestKind.START_ONLY, 999, 1000)
    assert not found(RequestBuilder(rounds_up_to=60_000), "1m").starts_late
    assert not found(RequestBuilder(start_shift=-1), "1m").starts_late


def test_a_parameter_that_is_only_passed_on_is_not_honoured() -> None:
    assert found(RequestBuilder(end="limit", passes_until=True)).until
    assert found(RequestBuilder(sends_start=False, passes_until=True)).until
    assert not found(RequestBuilder(end="limit", passes_until=False)).until


@settings(max_examples=60, deadline=None)
@given(
    builder=st.builds(
        RequestBuilder,
        unit=st.sampled_from(["ms", "s", "ns", "iso"]),
        end=st.sampled_from(["none", "limit", "limit-1", "now", f"at_most:{90 * DAY}", f"at_most:{5 * 3_600_000}"]),
        width=st.none() | st.integers(3, 1500),
        start_shift=st.integers(-1, 0),
        largest_count=st.integers(3, 2000),
        old_largest_count=st.integers(3, 2000),
        sends_count=st.booleans(),
        in_body=st.booleans(),
    ),
    timeframe=st.sampled_from(["1m", "15m", "4h", "1d", "1w", "1M"]),
    claimed=st.integers(10, 1000),
    years=st.sampled_from([0, 1, 6]),
)
def test_no_request_covers_less_than_its_page(
    builder: RequestBuilder, timeframe: str, claimed: int, years: int
) -> None:
    """The oracle reads the builder's own arguments, not its request."""
    request = candle_request(builder, timeframe, NOW, claimed)
    assert isinstance(request, CandleRequest)
    assert request.page <= claimed
    since = shift(timeframe, floor_open(timeframe, NOW - years * 366 * DAY), -request.page)
    limit = min(request.limit, builder.largest_count)
    if since < NOW - 30 * DAY:
        limit = min(limit, builder.old_largest_count)
    if builder.sends_count:
        assert limit >= request.page
    nominal = parse_timeframe(timeframe).nominal_ms
    end = builder._end(CandleCall(timeframe, NOW, since, request.limit), limit, nominal)
    if end is not None and end < NOW:
        assert shift(timeframe, since, request.page - 1) < end


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1779753600", 1_779_753_600_000),
        ("1779753600000", 1_779_753_600_000),
        ("1779753600000000000", 1_779_753_600_000),
        ("2026-05-26T00:00:00.000Z", 1_779_753_600_000),
        ("2026-05-26 00:00:00", 1_779_753_600_000),
        ("20260526", 1_779_753_600_000),
        ("2026", 1_767_225_600_000),
        ("1000", None),
        ("21600", None),
        ("BTCUSDT", None),
        ("1m", None),
        ("", None),
    ],
)
def test_instants_differ_from_counts_and_names(text: str, instant: int | None) -> None:
    assert instant_of(text) == instant


def test_the_parts_of_a_request_have_names() -> None:
    request = HttpRequest("https://a.example/v1/candles/1m?from=1&to=", '{"req": {"coin": null, "at": [5]}}')
    parts = {"path/0": "", "path/1": "v1", "path/2": "candles", "path/3": "1m", "query/from": "1", "query/to": ""}
    assert fields_of(request) == parts | {"body/req/coin": "None", "body/req/at/0": "5"}


class FakeExchange(ccxt.async_support.Exchange):
    """A class of ccxt whose markets are numbered, and which needs keys for its list of markets."""

    def describe(self) -> Any:
        return self.deep_extend(super().describe(), {"id": "fake", "has": {"fetchOHLCV": True}})

    async def fetch_markets(self, params: Any = None) -> Any:
        raise AuthenticationError('fake requires "apiKey" credential')

    async def fetch_ohlcv(
        self, symbol: str, timeframe: str = "1m", since: Any = None, limit: Any = None, params: Any = None
    ) -> Any:
        await self.load_markets()
        number = int(self.market(symbol)["id"])
        if timeframe == "1h":
            raise ccxt.async_support.NotSupported("fake has no hourly candles")
        url = f"https://fake.example/candles/{number}?from={since}&limit={min(limit, 50)}&now={self.milliseconds()}"
        return await self.fetch(url)


def test_a_request_of_a_ccxt_class_is_recorded_and_not_sent() -> None:
    request_of = RequestRecorder(FakeExchange, MarketKind.SPOT).request_of
    recorded = request_of(CandleCall("1m", NOW, 1_779_753_600_000, 100))
    assert recorded == HttpRequest(f"https://fake.example/candles/1?from=1779753600000&limit=50&now={NOW}", None)
    assert request_of(CandleCall("1h", NOW, 1_779_753_600_000, 100)) == CannotCollect("fake has no hourly candles")
    assert candle_request(request_of, "1m", NOW, 1000) == CandleRequest(RequestKind.START_TO_NOW, 50, 50)


def test_a_class_that_needs_keys_for_its_markets_is_found() -> None:
    assert markets_refusal(FakeExchange, NOW) == CannotCollect('fake requires "apiKey" credential', True)
    assert markets_refusal(ccxt.async_support.kraken, NOW) is None


@pytest.mark.parametrize(
    ("symbol", "kind"),
    [
        ("BTC/USDT", MarketKind.SPOT),
        ("BTC/USDT:USDT", MarketKind.LINEAR),
        ("BTC/USD:BTC", MarketKind.INVERSE),
        ("BTC/USD:BTC-240628", None),
        ("BTC/USDT:USDT-261225", None),
        ("BTC/USD:BTC-240628-50000-C", None),
    ],
)
def test_the_kind_of_a_market_follows_from_its_symbol(symbol: str, kind: MarketKind | None) -> None:
    assert market_kind(symbol) is kind


def test_every_exchange_and_timeframe_has_a_request_or_a_reason() -> None:
    for exchange, entry in load_catalogue().exchanges.items():
        assert entry.timeframes, exchange
        for by_timeframe in entry.requests.values():
            assert by_timeframe.keys() == set(entry.timeframes), exchange
            for request in by_timeframe.values():
                if isinstance(request, CandleRequest):
                    assert 2 <= request.page <= request.limit <= 1000, exchange
                    assert request.kind is not RequestKind.UNKNOWN, exchange
                else:
                    assert request.reason, exchange


@pytest.mark.parametrize(
    ("exchange", "kind", "limit", "weight"),
    [
        ("binance", MarketKind.SPOT, 1000, 0.4),
        ("binance", MarketKind.LINEAR, 500, 5.0),
        ("kraken", MarketKind.SPOT, 720, 1.2),
    ],
)
def test_the_weight_of_a_request_is_that_of_the_class_of_ccxt(
    exchange: str, kind: MarketKind, limit: int, weight: float
) -> None:
    recorder = RequestRecorder(getattr(ccxt.async_support, exchange), kind)
    call = CandleCall("1m", NOW, floor_open("1m", NOW) - limit * 60_000, limit)
    assert recorder.weight_of(call) == pytest.approx(weight)
    request = load_catalogue().exchanges[exchange].request(kind, "1m")
    assert isinstance(request, CandleRequest)
    assert request.weight == pytest.approx(weight)


def test_every_exchange_has_the_rate_limit_of_ccxt() -> None:
    for exchange, entry in load_catalogue().exchanges.items():
        assert entry.rate_limit_ms == getattr(ccxt.async_support, exchange)().rateLimit, exchange
