"""The client of one exchange. All its runs share the rate limit, the circuit, the clock and the markets."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import ccxt.async_support as ccxt

from collector.exchange.activity import row_reader
from collector.exchange.ccxt_setup import build_ccxt_client, keep_activity
from collector.exchange.checked_rows import checked_rows
from collector.exchange.circuit_breaker import CircuitBreaker
from collector.exchange.circuit_transitions import CircuitState, circuit_from_event
from collector.exchange.client_options import CandleResponse, ClientOptions
from collector.exchange.clock import ExchangeClock
from collector.exchange.errors import is_retry_after_too_long, translate_error
from collector.exchange.failures import ExchangeFailure
from collector.exchange.markets import Markets
from collector.exchange.rate_limiter import WORK_CLASS, RateLimiter
from collector.exchange.silence_habits import SilenceHabits
from collector.exchange.status_answers import STATUS_ANSWERS, raw_status
from collector.exchange.status_statements import StatusStatement, StatusStatements
from collector.exchange.strict_http import (
    LAST_REQUEST,
    MAX_BODY_BYTES,
    MAX_CANDLES_BODY_BYTES,
    RequestRecord,
)
from collector.exchange.symbol_hints import did_you_mean
from collector.exchange.traits_table import traits_of
from collector.metrics import CollectorMetrics
from contracts.exchange_catalogue import market_kind
from contracts.exchanges import ExchangeHealthChanged
from contracts.spans import Intervals
from contracts.symbols import kind_of, reason_not_collected
from contracts.vocabulary import ErrorClass
from runtime.consumers.work_class import WorkClass
from runtime.logs import log

_HINT_SECONDS: Final = 1.0


class ExchangeClient:
    """The client of one exchange.

    Spot and swap markets are two ccxt instances with one rate limit. Each is built when it is needed.
    """

    def __init__(
        self,
        exchange: str,
        options: ClientOptions,
        metrics: CollectorMetrics,
        clock: ExchangeClock,
        report: Callable[[str, CircuitState], None],
        report_markets: Callable[[str, str, Collection[Mapping[str, Any]]], None] = lambda *_: None,
    ) -> None:
        """`report_markets` is called with the exchange, the kind and each list of markets that was read.

        Raises `ExchangeFailure` if ccxt does not know the exchange, or cannot read its candles.
        """
        self.exchange = exchange
        self.traits = traits_of(exchange)
        self._options, self._metrics, self._clock, self._report_markets = options, metrics, clock, report_markets
        self._ok = metrics.requests.labels(exchange, "ok")
        self.statements, self.habits = StatusStatements(), SilenceHabits()
        metrics.clock_skew.labels(exchange).set_function(clock.skew)
        self._by_kind: dict[str, tuple[Any, Markets]] = {}
        """Kind of market (spot or swap) to the ccxt instance and its markets."""
        self._rate_limiter: RateLimiter | None = None
        self._breaker = CircuitBreaker(exchange, options.probe_policy, metrics, clock.monotonic, report)
        self._spot_client = self._build_client("spot")
        if not self._spot_client.has.get("fetchOHLCV"):
            raise ExchangeFailure(
                ErrorClass.NOT_SUPPORTED, f"{exchange} has no candles that ccxt can read", retryable=False
            )

    def adopt(self, event: ExchangeHealthChanged) -> None:
        """Adopt the circuit state of this exchange that another collector has published."""
        now, max_wait = datetime.now(UTC), self._options.longest_retry_after_seconds
        self._breaker.adopt(circuit_from_event(event, now, self._clock.monotonic(), max_wait))

    def now_ms(self) -> int:
        """The exchange's time in milliseconds since the epoch, as `ExchangeClock` estimates it."""
        return self._clock.now_ms()

    def page_limit(self, symbol: str, timeframe: str) -> int:
        """The number of candles to request per page, so that one request covers all of them."""
        return self.traits.page_limit(market_kind(symbol), timeframe)

    def honours_until(self, symbol: str) -> bool:
        """Whether a request can have an end, for every timeframe of this kind of market."""
        return self.traits.honours_until(market_kind(symbol))

    async def require(self, symbol: str, timeframe: str) -> None:
        """Return if the exchange has this symbol and timeframe; otherwise raise `ExchangeFailure`.

        The first call reads the markets.
        """
        if timeframe not in (self._spot_client.timeframes or {}):
            available = ", ".join(self._spot_client.timeframes or {})
            raise ExchangeFailure(
                ErrorClass.NOT_SUPPORTED,
                f"{self.exchange} has no {timeframe} candles, only {available}",
                retryable=False,
            )
        if (refusal := self.traits.refusal(market_kind(symbol), timeframe)) is not None:
            raise ExchangeFailure(
                ErrorClass.AUTHENTICATION if refusal.needs_credentials else ErrorClass.NOT_SUPPORTED,
                f"the {timeframe} candles of {self.exchange} cannot be collected: {refusal.reason}",
                retryable=False,
            )
        if (reason := reason_not_collected(symbol)) is not None:
            raise ExchangeFailure(ErrorClass.NOT_SUPPORTED, reason, retryable=False)
        try:
            await self._markets(symbol).require(symbol)
        except ExchangeFailure as failure:
            if failure.error_class is ErrorClass.BAD_SYMBOL and "Did you mean" not in failure.message:
                hint = did_you_mean(symbol, await self._symbols_of_other_kind(symbol))
                raise ExchangeFailure(failure.error_class, failure.message + hint, retryable=False) from failure
            raise

    async def remark(self, symbol: str, refresh_until: float | None) -> str | None:
        """A remark about the market for the reader of the run log: it is not active, or is no longer listed. None if
        the exchange does not say this. Call it if a run has found no candle with `refresh_until`, a time of the event
        loop: the list of markets is then read again, if the last one is not too recent. If this fails, the remark comes
        from the last list.
        """
        markets = self._markets(symbol)
        if refresh_until is not None:
            with suppress(ExchangeFailure, TimeoutError):
                async with asyncio.timeout_at(refresh_until):
                    await markets.refresh()
        return markets.remark(symbol)

    async def _symbols_of_other_kind(self, symbol: str) -> Collection[str]:
        """The symbols of the other kind of market: swaps if `symbol` is a spot market, spot markets if it is a swap.
        Empty if they are not read within a second, because the hint must not delay a run. A later run then has the
        hint.
        """
        with suppress(ExchangeFailure, TimeoutError):
            async with asyncio.timeout(_HINT_SECONDS):
                return await self._markets("" if ":" in symbol else ":").symbols()
        return ()

    async def fetch(
        self, symbol: str, timeframe: str, since: int, limit: int, until: int | None = None
    ) -> CandleResponse:
        """Request about `limit` candles that open at `since` (ms) or later, and before `until` if it is given.

        The response may contain other candles. Call `require` before. Raises `ExchangeFailure`.
        """
        client, _ = self._client_and_markets(symbol)
        since, limit = self.traits.ccxt_arguments(market_kind(symbol), timeframe, since, limit)
        params = {} if until is None else {"until": until}

        async def read() -> list[Any]:
            rows = await client.fetch_ohlcv(symbol, timeframe, since, limit, params)
            return checked_rows(rows, self.exchange, symbol, always_a_list=self.traits.always_lists_candles)

        rows = await self._call(read, MAX_CANDLES_BODY_BYTES)
        self._ok.inc()
        as_of_ms = LAST_REQUEST.get().as_of_ms
        self.habits.add(market_kind(symbol), timeframe, rows, as_of_ms)
        return CandleResponse(rows, as_of_ms, self._clock.fetch_time(), self._clock.confirms(as_of_ms))

    async def fetch_trades(self, symbol: str, since: int, until: int, limit: int) -> list[dict[str, Any]]:
        """Request about `limit` trades from `since` (ms) on, as ccxt returns them. Only an exchange that needs an end
        gets `until`. Call `require` before. Raises `ExchangeFailure`.
        """
        client, _ = self._client_and_markets(symbol)
        params = {"until": until} if self.traits.trades_need_end else {}
        trades: list[dict[str, Any]] = await self._call(
            lambda: client.fetch_trades(symbol, since, limit, params), MAX_CANDLES_BODY_BYTES
        )
        self._ok.inc()
        return trades

    async def fetch_status(self) -> StatusStatement | None:
        """The exchange's statement about itself now.

        None if the exchange gives no statement. Raises `ExchangeFailure`.
        """
        if self.exchange not in STATUS_ANSWERS:
            return None
        status = raw_status(self.exchange, await self._call(self._spot_client.fetch_status))
        self._ok.inc()
        if status is None:
            return None
        return self.statements.add(StatusStatement(LAST_REQUEST.get().as_of_ms, *status))

    def closed(self, symbol: str) -> Intervals:
        """The time in which the exchange has stated that markets of this kind are closed."""
        known = STATUS_ANSWERS.get(self.exchange)
        return self.statements.closed() if known is not None and market_kind(symbol) in known.kinds else ()

    @property
    def timeframes(self) -> Collection[str]:
        """The timeframes of the exchange, as ccxt knows them."""
        return frozenset(self._spot_client.timeframes or {})

    def not_traded_since(self, symbol: str) -> datetime | None:
        """The time since which the lists of markets show that a known market is not traded. None if the market may be
        traded.
        """
        return self._markets(symbol).not_traded_since(symbol)

    def created(self, symbol: str) -> int | None:
        """The creation time of a known market, in milliseconds. None if the exchange does not send it."""
        return self._markets(symbol).created(symbol)

    async def symbols(self, symbol: str) -> Collection[str]:
        """The symbols of the markets of the same kind. Raises `ExchangeFailure`."""
        return await self._markets(symbol).symbols()

    async def close(self) -> None:
        while self._by_kind:
            _, (client, markets) = self._by_kind.popitem()
            await markets.close()
            await client.close()

    async def _call(self, send_request: Callable[[], Awaitable[Any]], max_body_bytes: int = MAX_BODY_BYTES) -> Any:
        """The result of `send_request`. Raises only `ExchangeFailure`."""
        LAST_REQUEST.set(RequestRecord(sent_ms=self.now_ms(), max_body_bytes=max_body_bytes))
        with self._breaker.admit_request() as admitted_under:
            try:
                result = await send_request()
            except ExchangeFailure:
                raise
            except Exception as error:
                if not isinstance(error, ccxt.BaseError | OSError):
                    log.warning(
                        f"ccxt could not process a response of {self.exchange}; the request counts as failed",
                        action="unexpected_answer",
                        exc_info=error,
                    )
                failure = self._count_failure(self._translate(error))
                self._breaker.record_failure(failure, admitted_under)
                raise failure from error
            self._breaker.record_response(admitted_under)
            return result

    def _translate(self, error: Exception) -> ExchangeFailure:
        max_wait = self._options.longest_retry_after_seconds
        failure = translate_error(error, self.exchange, datetime.now(UTC), max_wait)
        if is_retry_after_too_long(error, max_wait):
            log.warning(
                f"{self.exchange} sent a Retry-After above LONGEST_RETRY_AFTER_SECONDS; it is shortened to this limit",
                action="retry_after_shortened",
                exchange=self.exchange,
                retry_after=getattr(error, "retry_after", None),
                maximum_seconds=max_wait,
            )
        return failure

    def _on_send(self) -> int:
        self._breaker.check()
        return self._clock.now_ms()

    def _count_failure(self, failure: ExchangeFailure) -> ExchangeFailure:
        self._metrics.requests.labels(self.exchange, failure.error_class).inc()
        return failure

    def _markets(self, symbol: str) -> Markets:
        _, markets = self._client_and_markets(symbol)
        return markets

    def _client_and_markets(self, symbol: str) -> tuple[Any, Markets]:
        kind = kind_of(symbol)
        if kind not in self._by_kind:
            client = self._spot_client if kind == "spot" else self._build_client(kind)

            async def read() -> list[Any]:
                # in a separate task, because scheduled runs also wait for the markets
                WORK_CLASS.set(WorkClass.SCHEDULED)
                markets: list[Any] = await self._call(client.fetch_markets)
                self._ok.inc()
                return markets

            def on_loaded(markets: Collection[Mapping[str, Any]]) -> None:
                self._metrics.markets.labels(self.exchange, kind).set(len({each["symbol"] for each in markets}))
                self._report_markets(self.exchange, kind, markets)

            self._by_kind[kind] = (
                client,
                Markets(
                    client,
                    read,
                    refresh_seconds=self._options.markets_refresh_seconds,
                    check_seconds=self._options.markets_check_seconds,
                    on_loaded=on_loaded,
                    now=self._clock.monotonic,
                ),
            )
        return self._by_kind[kind]

    def _build_client(self, kind: str) -> Any:
        client = build_ccxt_client(
            self.exchange,
            kind,
            timeout_ms=int(self._options.request_timeout_seconds * 1000),
            base_url=(self._options.url_overrides or {}).get(self.exchange),
        )
        if self._rate_limiter is None:
            self._rate_limiter = RateLimiter(
                client.rateLimit,
                self._metrics.rate_limit_wait.labels(self.exchange).observe,
                self._clock.monotonic,
                check=self._breaker.check,
                may_send=self._options.may_send,
                background_share=self._options.background_share,
            )
        client.throttler = self._rate_limiter
        invalid = self._metrics.invalid_activity
        read_activity = row_reader(self.traits, lambda field: invalid.labels(self.exchange, field).inc())
        if read_activity is not None:
            keep_activity(client, read_activity)
        client.on_send, client.on_date = self._on_send, self._clock.observe
        return client
