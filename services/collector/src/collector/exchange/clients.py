"""One long-lived client per exchange: the rate budget, the clock and the markets that all its runs share."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import ccxt.async_support as ccxt

from collector.exchange.circuit_breaker import CircuitBreaker
from collector.exchange.circuit_state import CircuitState, ProbePolicy, health_of
from collector.exchange.clock import ExchangeClock
from collector.exchange.errors import LONGEST_RETRY_AFTER, failure_of, is_too_long
from collector.exchange.failures import ExchangeFailure
from collector.exchange.markets import Markets
from collector.exchange.rate_limiter import RateLimiter
from collector.exchange.response_shape import is_list_of_candles
from collector.exchange.strict_http import LAST, Exchanged, strict
from collector.exchange.traits import traits_of
from collector.metrics import CollectorMetrics
from contracts.exchanges import ExchangeHealthChanged
from contracts.vocabulary import ErrorClass
from runtime.logs import log

LARGEST_PAGE: Final = 1000
"""Some exchanges give more rows at once (Bitfinex 10,000); a page of ours fits into one event."""

_PUBLIC_KINDS: Final = {"spot": frozenset({"spot"}), "swap": frozenset({"swap", "linear", "inverse", "contract"})}


@dataclass(frozen=True)
class Answer:
    """What an exchange answered to a request for candles, not looked at yet."""

    rows: list[Any]
    """As ccxt parsed them, of any quality."""
    asked_ms: int
    """The exchange's time when the request left, milliseconds: what was closed by then is final."""
    fetched_at: datetime


@dataclass(frozen=True)
class ClientOptions:
    """How clients behave, whatever the exchange."""

    request_timeout_seconds: float = 10.0
    markets_refresh_seconds: float = 900.0
    url_overrides: Mapping[str, str] | None = None
    """Exchange id to base URL; see `point_at`."""
    probing: ProbePolicy = field(default_factory=ProbePolicy)
    longest_retry_after_seconds: float = LONGEST_RETRY_AFTER


class ExchangeClient:
    """One exchange. Spot and swap markets are two ccxt instances under one rate limit, made when first needed."""

    def __init__(
        self,
        exchange: str,
        options: ClientOptions,
        metrics: CollectorMetrics,
        clock: ExchangeClock,
        report: Callable[[str, CircuitState], None],
    ) -> None:
        """Raises `ExchangeFailure` when ccxt does not know the exchange, or not its candles."""
        self.exchange = exchange
        self.traits = traits_of(exchange)
        self._options, self._metrics, self._clock = options, metrics, clock
        self._ok = metrics.requests.labels(exchange, "ok")
        metrics.clock_skew.labels(exchange).set_function(clock.skew)
        self._books: dict[str, tuple[Any, Markets]] = {}
        self._throttle: RateLimiter | None = None
        self._breaker = CircuitBreaker(exchange, options.probing, metrics, clock.monotonic, report)
        self._sample = self._instance("spot")
        if not self._sample.has.get("fetchOHLCV"):
            raise ExchangeFailure(ErrorClass.NOT_SUPPORTED, f"{exchange} offers no candles", retryable=False)

    def adopt(self, event: ExchangeHealthChanged) -> None:
        """Take over what another collector has published of this exchange."""
        now, longest = datetime.now(UTC), self._options.longest_retry_after_seconds
        self._breaker.adopt(health_of(event, now, self._clock.monotonic(), longest))

    def now_ms(self) -> int:
        """The exchange's time, milliseconds since the epoch; never ahead of it by its own dates."""
        return self._clock.now_ms()

    def page_limit(self, symbol: str) -> int:
        """How many candles to ask for at once."""
        kind = _kind_of(symbol)
        features = self._sample.features.get(kind) or {}
        if kind == "swap":
            base_quote, settle = symbol.split(":", 1)
            features = features.get("linear" if base_quote.endswith("/" + settle) else "inverse") or {}
        limit = (features.get("fetchOHLCV") or {}).get("limit") or self.traits.default_page_limit
        return min(int(limit), LARGEST_PAGE)

    async def require(self, symbol: str, timeframe: str) -> None:
        """Return once this series can be asked for. Raises `ExchangeFailure`. Reads the markets when first called."""
        if timeframe not in (self._sample.timeframes or {}):
            offered = ", ".join(self._sample.timeframes or {})
            raise ExchangeFailure(
                ErrorClass.NOT_SUPPORTED, f"{self.exchange} has no {timeframe} candles, only {offered}", retryable=False
            )
        _, markets = self._book(symbol)
        await markets.require(symbol)

    async def fetch(self, symbol: str, timeframe: str, since: int, limit: int) -> Answer:
        """Candles that open at `since` or later, `limit` or so; there may be earlier and more. `require` it first.

        Raises `ExchangeFailure`.
        """
        client, _ = self._book(symbol)
        exchanged = Exchanged(sent_ms=self.now_ms())
        LAST.set(exchanged)
        rows = await self._call(lambda: client.fetch_ohlcv(symbol, timeframe, since, limit))
        if not is_list_of_candles(self.traits.candle_list_path, exchanged.body):
            raise self._counted(
                ExchangeFailure(
                    ErrorClass.BAD_RESPONSE,
                    f"{self.exchange} sent JSON without a list of candles: {exchanged.body!r:.200}",
                    retryable=True,
                )
            )
        self._ok.inc()
        return Answer(rows, exchanged.asked_ms, datetime.now(UTC))

    async def close(self) -> None:
        for client, markets in self._books.values():
            await markets.close()
            await client.close()
        self._books.clear()

    async def _call(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask the exchange. What is raised is an `ExchangeFailure`."""
        with self._breaker.passing() as health:
            try:
                answer = await ask()
            except ExchangeFailure:
                raise
            except Exception as error:
                if not isinstance(error, ccxt.BaseError | OSError):
                    log.warning("ccxt tripped over an answer", action="unexpected_answer", exc_info=error)
                failure = self._counted(self._failure_of(error))
                self._breaker.failed(failure, health)
                raise failure from error
            self._breaker.answered(health)
            return answer

    def _failure_of(self, error: Exception) -> ExchangeFailure:
        longest = self._options.longest_retry_after_seconds
        failure = failure_of(error, self.exchange, datetime.now(UTC), longest)
        if is_too_long(error, longest):
            log.warning(
                "Exchange sent a Retry-After that is too long, it is shortened to the maximum",
                action="retry_after_shortened",
                exchange=self.exchange,
                retry_after=getattr(error, "retry_after", None),
                maximum_seconds=longest,
            )
        return failure

    def _sending(self) -> int:
        self._breaker.check()
        return self._clock.now_ms()

    def _counted(self, failure: ExchangeFailure) -> ExchangeFailure:
        self._metrics.requests.labels(self.exchange, failure.error_class).inc()
        return failure

    def _book(self, symbol: str) -> tuple[Any, Markets]:
        kind = _kind_of(symbol)
        if kind not in self._books:
            client = self._sample if kind == "spot" else self._instance(kind)

            async def read() -> list[Any]:
                markets: list[Any] = await self._call(client.fetch_markets)
                self._ok.inc()
                return markets

            self._books[kind] = (
                client,
                Markets(
                    client,
                    read,
                    refresh_seconds=self._options.markets_refresh_seconds,
                    loaded=self._metrics.markets.labels(self.exchange, kind).set,
                    now=self._clock.monotonic,
                ),
            )
        return self._books[kind]

    def _instance(self, kind: str) -> Any:
        if self.exchange not in ccxt.exchanges:
            raise ExchangeFailure(
                ErrorClass.NOT_SUPPORTED, f"ccxt {ccxt.__version__} knows no exchange {self.exchange}", retryable=False
            )
        client = strict(getattr(ccxt, self.exchange))({"timeout": int(self._options.request_timeout_seconds * 1000)})
        client.timeout_on_exit = 0
        client.enableLastHttpResponse = client.enableLastJsonResponse = client.enableLastResponseHeaders = False
        only_markets_of(client, kind)
        if (base := (self._options.url_overrides or {}).get(self.exchange)) is not None:
            point_at(client, base)
        if self._throttle is None:
            self._throttle = RateLimiter(
                client.rateLimit,
                self._metrics.throttle_wait.labels(self.exchange).observe,
                self._clock.monotonic,
                check=self._breaker.check,
            )
        client.throttler = self._throttle
        client.on_send, client.on_date = self._sending, self._clock.observe
        return client


class ExchangeClients:
    """The clients of this process, made when first asked for, closed together."""

    def __init__(
        self,
        options: ClientOptions,
        metrics: CollectorMetrics,
        make_clock: Callable[[], ExchangeClock] = ExchangeClock,
        report: Callable[[str, CircuitState], None] = lambda _exchange, _health: None,
        published: Callable[[str], ExchangeHealthChanged | None] = lambda _exchange: None,
    ) -> None:
        """`tell` hears how each exchange fares, whenever that changes. `published` returns the latest event about an
        exchange, by whichever collector.
        """
        self._options, self._metrics, self._make_clock, self._report = options, metrics, make_clock, report
        self._published = published
        self._clients: dict[str, ExchangeClient] = {}
        self._adopted: dict[str, ExchangeHealthChanged] = {}

    def of(self, exchange: str) -> ExchangeClient:
        """Raises `ExchangeFailure` when ccxt cannot collect candles there. Call it inside the event loop."""
        if exchange not in self._clients:
            self._clients[exchange] = ExchangeClient(
                exchange, self._options, self._metrics, self._make_clock(), self._report
            )
            self._adopt(exchange)
        return self._clients[exchange]

    def follow(self, exchange: str, this_instance: str) -> None:
        """Take over what another collector has published since we looked last. Call it if this exchange has one lane.

        Then the other collector has owned the lane. If there are several lanes, each collector has an address, and so
        a ban, of its own.
        """
        event = self._published(exchange)
        if exchange in self._clients and event is not None and event.collector != this_instance:
            self._adopt(exchange)

    def _adopt(self, exchange: str) -> None:
        event = self._published(exchange)
        if event is not None and self._adopted.get(exchange) is not event:
            self._adopted[exchange] = event
            self._clients[exchange].adopt(event)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
        self._clients.clear()


def _kind_of(symbol: str) -> str:
    return "swap" if ":" in symbol else "spot"


def only_markets_of(client: Any, kind: str) -> None:
    """Ask for no more markets than needed: Bybit's full set is eleven requests, Binance's three and 50 MB."""
    client.has["fetchCurrencies"] = False
    options = client.options.get("fetchMarkets")
    types = options.get("types") if isinstance(options, dict) else None
    wanted = _PUBLIC_KINDS[kind]
    if isinstance(types, list):
        kept: Any = [each for each in types if each in wanted]
    elif isinstance(types, dict):
        kept = {name: value if name in wanted else _nothing_of(value) for name, value in types.items()}
    else:
        return
    if kept:
        client.options["fetchMarkets"] = {**options, "types": kept}


def _nothing_of(value: Any) -> Any:
    return dict.fromkeys(value, False) if isinstance(value, dict) else False


def point_at(client: Any, base: str) -> None:
    """Lead all REST requests to another server; the exchange's own host becomes the first part of the path."""

    def rewritten(urls: Any) -> Any:
        if isinstance(urls, str):
            return re.sub(r"^https?://", f"{base.rstrip('/')}/", urls)
        return {name: rewritten(url) for name, url in urls.items()} if isinstance(urls, dict) else urls

    client.urls["api"] = rewritten(client.urls["api"])
