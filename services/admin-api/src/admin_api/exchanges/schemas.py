"""The response bodies for exchanges: the requests that ccxt builds for them, and known facts about their answers."""

from collections.abc import Iterable, Iterator
from typing import Self, TypeVar

from pydantic import BaseModel, Field
from typing_extensions import override

from admin_api.http.exchange_catalogue import Catalogue, duration_text
from admin_api.http.input_types import Input
from contracts.exchange_catalogue import CandleRequest, CannotCollect, CatalogueEntry, MarketKind, RequestKind
from contracts.timeframes import shortest_length

T = TypeVar("T", CandleRequest, CannotCollect)


class ExchangeFilters(Input):
    """The query parameters of the list of exchanges."""

    allowed: bool | None = Field(
        default=None, description="True: only exchanges that EXCHANGES_ALLOWED permits. False: only the others."
    )


class CandleRequests(BaseModel):
    """How ccxt requests candles of one kind of market."""

    market: MarketKind = Field(description="linear and inverse: perpetual swaps.")
    timeframes: list[str]
    request: RequestKind = Field(
        description="start_only: from `since` on; window: from `since` to an end; start_to_now; end_only: an end "
        "computed from `since`; day_file: one UTC day; no_since: the newest candles, for any `since`."
    )
    page_limit: int = Field(description="The largest number of candles that one request covers.")
    honours_since: bool = Field(description="Whether the request contains the start of the wanted candles.")
    weight: float = Field(description="One request takes `weight` times `rate_limit_ms` of the rate limit.")
    newest_readable: int | None = Field(description="Only this many newest candles can be read; null: no known limit.")


class NotCollectable(BaseModel):
    """Candles that can never be collected. A config with them is refused."""

    market: MarketKind
    timeframes: list[str]
    reason: str
    needs_credentials: bool


class Exchange(BaseModel):
    """One exchange that offers candles through ccxt."""

    id: str = Field(description="ccxt's id.", examples=["kraken"])
    name: str = Field(examples=["Kraken"])
    allowed: bool = Field(description="Whether EXCHANGES_ALLOWED permits configs of this exchange.")
    timeframes: list[str] = Field(description="The timeframes that the exchange offers, from short to long.")
    page_limit: int | None = Field(
        description="The largest number of candles that one request covers, over all markets and timeframes; null if "
        "nothing can be collected."
    )
    history_candles: int | None = Field(
        description="The exchange keeps only this many newest candles per timeframe; null: no known limit."
    )
    rate_limit_ms: float | None = Field(
        description="The time between two requests of weight 1 in milliseconds, by ccxt; null: unknown."
    )
    honours_since: bool = Field(description="Whether all requests contain the start of the wanted candles.")
    fills_silence: bool | None = Field(
        description="Whether the exchange sends a candle for a time without trades; null: unknown."
    )
    needs_credentials: bool = Field(description="Nothing can be collected, because ccxt needs the keys of an account.")
    traits_known: bool = Field(
        description="Whether facts about its answers are known. Otherwise the collector uses careful defaults."
    )
    warnings: list[str] = Field(description="Ways in which candles of this exchange may be lost.")

    @classmethod
    def of(cls, catalogue: Catalogue, exchange: str) -> Self:
        return cls(**_facts(catalogue, exchange))


class ExchangeDetails(Exchange):
    """One exchange with its requests by kind of market."""

    requests: list[CandleRequests]
    cannot_collect: list[NotCollectable]

    @classmethod
    @override
    def of(cls, catalogue: Catalogue, exchange: str) -> Self:
        entry = catalogue.exchanges[exchange]
        return cls(
            **_facts(catalogue, exchange),
            requests=list(_requests(entry)),
            cannot_collect=list(_not_collectable(entry)),
        )


def _facts(catalogue: Catalogue, exchange: str) -> dict[str, object]:
    entry = catalogue.exchanges[exchange]
    outcomes = [each for by_timeframe in entry.requests.values() for each in by_timeframe.values()]
    requests = [each for each in outcomes if isinstance(each, CandleRequest)]
    return {
        "id": exchange,
        "name": entry.name,
        "allowed": catalogue.is_allowed(exchange),
        "timeframes": list(entry.timeframes),
        "page_limit": max((each.page for each in requests), default=None),
        "history_candles": entry.history_candles,
        "rate_limit_ms": entry.rate_limit_ms,
        "honours_since": bool(requests) and all(each.honours_since for each in requests),
        "fills_silence": entry.fills_silence,
        "needs_credentials": entry.needs_credentials,
        "traits_known": entry.known,
        "warnings": list(_warnings(entry)),
    }


def _requests(entry: CatalogueEntry) -> Iterator[CandleRequests]:
    for kind, by_timeframe in entry.requests.items():
        candles = [(each, request) for each, request in by_timeframe.items() if isinstance(request, CandleRequest)]
        for request, timeframes in _grouped(candles):
            yield CandleRequests(
                market=kind,
                timeframes=timeframes,
                request=request.kind,
                page_limit=request.page,
                honours_since=request.honours_since,
                weight=request.weight,
                newest_readable=entry.newest_readable(kind, timeframes[0]),
            )


def _not_collectable(entry: CatalogueEntry) -> Iterator[NotCollectable]:
    for kind, by_timeframe in entry.requests.items():
        refused = [(each, refusal) for each, refusal in by_timeframe.items() if isinstance(refusal, CannotCollect)]
        for refusal, timeframes in _grouped(refused):
            yield NotCollectable(
                market=kind, timeframes=timeframes, reason=refusal.reason, needs_credentials=refusal.needs_credentials
            )


def _grouped(items: Iterable[tuple[str, T]]) -> Iterator[tuple[T, list[str]]]:
    """Groups of timeframes with equal facts, in the order of the first timeframe of each group."""
    groups: dict[T, list[str]] = {}
    for timeframe, facts in items:
        groups.setdefault(facts, []).append(timeframe)
    yield from groups.items()


def _warnings(entry: CatalogueEntry) -> Iterator[str]:
    limits: dict[int, list[str]] = {}
    for kind in entry.requests:
        for timeframe in entry.timeframes:
            if (candles := entry.newest_readable(kind, timeframe)) is not None:
                limits.setdefault(candles, []).append(timeframe)
    for candles, timeframes in limits.items():
        span = duration_text(candles * shortest_length(timeframes[0]))
        yield (
            f"Only the newest {candles} candles can be read: {span} of {timeframes[0]}. A longer interval or outage "
            "loses candles."
        )
    if entry.needs_credentials:
        yield "ccxt needs the keys of an account for these candles, and Candlekeep has none."
