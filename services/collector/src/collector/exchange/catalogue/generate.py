"""Writes contracts/exchange_catalogue.json from the installed ccxt and the table of traits, without network access.

Run it after every update of ccxt and every change of the traits: `make generate`.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import ccxt
import ccxt.async_support
from pydantic import TypeAdapter, ValidationError

import contracts
from collector.exchange.catalogue.comparing import CandleCall, HttpRequest, candle_request
from collector.exchange.catalogue.recording import RequestRecorder, markets_refusal
from collector.exchange.traits import ExchangeTraits
from collector.exchange.traits_table import TRAITS
from contracts.exchange_catalogue import CATALOGUE_FILE, CandleRequest, CannotCollect, MarketKind, RequestKind, RowOrder
from contracts.timeframes import DAY_MS, floor_open, shift, timeframe_order
from contracts.vocabulary import Timeframe

CATALOGUE: Final = Path(contracts.__file__).with_name(CATALOGUE_FILE)
NOW: Final = 1_781_526_896_000
"""The time of all recorded calls: 2026-06-15 12:34:56 UTC. So the file does not depend on the day of its making."""
LARGEST_PAGE: Final = 1000
"""The largest page. Some exchanges send more candles per request, but only a page up to this size fits into one
event.
"""


def catalogue() -> dict[str, Any]:
    """Every exchange with a native `fetchOHLCV` (not emulated by ccxt from trades), by its id in ccxt."""
    entries = {each: entry(getattr(ccxt.async_support, each)) for each in sorted(ccxt.async_support.exchanges)}
    return {"ccxt": ccxt.__version__, "exchanges": {key: value for key, value in entries.items() if value}}


def entry(cls: Any) -> dict[str, Any] | None:
    """The exchange's part of the catalogue; None if ccxt cannot read its candles."""
    exchange = cls()
    timeframes = sorted(filter(_is_timeframe, exchange.timeframes or ()), key=timeframe_order)
    if exchange.has.get("fetchOHLCV") is not True or not timeframes:
        return None
    row = TRAITS.get(exchange.id, ExchangeTraits())
    no_markets = markets_refusal(cls, NOW)
    requests: dict[str, list[dict[str, Any]]] = {}
    with_trades: list[str] = []
    for kind in offered_kinds(exchange):
        recorder = RequestRecorder(cls, kind)
        request_of = recorder.request_of
        claimed = min(LARGEST_PAGE, claimed_page(exchange, kind) or row.default_page_limit)
        refusals = {each: CannotCollect(reason) for each, reason in row.cannot_collect.items()}
        found = {
            each: no_markets or refusals.get(each) or candle_request(request_of, each, NOW, claimed)
            for each in timeframes
        }
        if kind in row.ignores_since:
            found = {each: _without_since(request) for each, request in found.items()}
        found = {each: _with_weight(recorder, each, request) for each, request in found.items()}
        requests[kind.value] = list(_groups(found))
        if sends_start_of_trades(recorder, needs_end=row.trades_need_end):
            with_trades.append(kind.value)
    facts = _known_facts(row) | ({"trades_since": with_trades} if with_trades else {})
    return {"name": exchange.name, **facts, "rate_limit_ms": exchange.rateLimit, "requests": requests}


def sends_start_of_trades(recorder: RequestRecorder, *, needs_end: bool) -> bool:
    """Whether requests for trades with two different start times differ. If they do not, ccxt requests the newest
    trades.
    """
    until = NOW - DAY_MS if needs_end else None
    one, other = (recorder.trades_since(NOW - days * DAY_MS, until, NOW) for days in (20, 30))
    return isinstance(one, HttpRequest) and isinstance(other, HttpRequest) and one != other


def _with_weight(
    recorder: RequestRecorder, timeframe: str, request: CandleRequest | CannotCollect
) -> CandleRequest | CannotCollect:
    if isinstance(request, CannotCollect):
        return request
    since = shift(timeframe, floor_open(timeframe, NOW), -request.page)
    return replace(request, weight=recorder.weight_of(CandleCall(timeframe, NOW, since, request.limit)))


def _without_since(request: CandleRequest | CannotCollect) -> CandleRequest | CannotCollect:
    if isinstance(request, CannotCollect):
        return request
    return CandleRequest(RequestKind.NO_SINCE, request.limit, request.limit)


def _known_facts(row: ExchangeTraits) -> dict[str, Any]:
    """The known facts of the table that other services use."""
    facts = {
        "known": bool(row.sources) or None,
        "history_candles": row.history_candles,
        "order": None if row.order is RowOrder.UNKNOWN else row.order.value,
        "fills_silence": row.fills_silence,
        "candle_lengths": dict(row.candle_lengths) or None,
        "tape_weight": {kind.value: weight for kind, weight in row.tape_weight.items()} or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _is_timeframe(text: str) -> bool:
    """Whether a text is a valid timeframe. One exchange in ccxt lists '15' and '30', which ccxt cannot parse."""
    try:
        TypeAdapter(Timeframe).validate_python(text)
    except ValidationError:
        return False
    return True


def offered_kinds(exchange: Any) -> list[MarketKind]:
    """The kinds of markets that ccxt offers on an exchange.

    If ccxt does not state the kind of swaps, linear swaps are assumed.
    """
    features, has = exchange.features or {}, exchange.has
    swaps = features.get("swap") or {}
    kinds = {
        MarketKind.SPOT: has.get("spot"),
        MarketKind.LINEAR: has.get("swap") is not False and (swaps.get("linear") or not swaps.get("inverse")),
        MarketKind.INVERSE: has.get("swap") is not False and swaps.get("inverse"),
    }
    return [kind for kind, is_offered in kinds.items() if is_offered]


def claimed_page(exchange: Any, kind: MarketKind) -> int | None:
    """The maximum number of candles in one response by ccxt's metadata; None if ccxt does not state it."""
    features = exchange.features or {}
    by_kind = features.get("spot") if kind is MarketKind.SPOT else (features.get("swap") or {}).get(kind.value)
    limit = ((by_kind or {}).get("fetchOHLCV") or {}).get("limit")
    return int(limit) if limit else None


def _groups(found: Mapping[str, CandleRequest | CannotCollect]) -> Iterator[dict[str, Any]]:
    """Groups of timeframes with equal facts. Each group is one entry, which keeps the file short."""

    def order(item: tuple[str, CandleRequest | CannotCollect]) -> str:
        return repr(item[1])

    grouped = [list(items) for _, items in groupby(sorted(found.items(), key=order), key=order)]
    for items in sorted(grouped, key=lambda items: timeframe_order(items[0][0])):
        timeframes = sorted((timeframe for timeframe, _ in items), key=timeframe_order)
        yield {"timeframes": " ".join(timeframes), **_facts(items[0][1])}


def _facts(request: CandleRequest | CannotCollect) -> dict[str, Any]:
    if isinstance(request, CannotCollect):
        needs_credentials = {"needs_credentials": True} if request.needs_credentials else {}
        return {"cannot_collect": request.reason, **needs_credentials}
    facts: dict[str, Any] = {"request": request.kind.value, "page": request.page}
    if request.limit != request.page:
        facts["limit"] = request.limit
    if request.weight != 1:
        facts["weight"] = round(request.weight, 6)
    return facts | {name: True for name in ("until", "starts_late") if getattr(request, name)}


def catalogue_text() -> str:
    """The catalogue as JSON, with one line per exchange, kind of market and group of timeframes, so that diffs are easy
    to read.
    """
    content = catalogue()
    entries = ",\n".join(f"    {json.dumps(key)}: {_entry_text(value)}" for key, value in content["exchanges"].items())
    return f'{{\n  "ccxt": {json.dumps(content["ccxt"])},\n  "exchanges": {{\n{entries}\n  }}\n}}\n'


def _entry_text(value: Mapping[str, Any]) -> str:
    facts = "".join(
        f"\n      {json.dumps(key)}: {json.dumps(each)}," for key, each in value.items() if key != "requests"
    )
    kinds = ",\n".join(
        f"        {json.dumps(kind)}: [\n"
        + ",\n".join(f"          {json.dumps(group)}" for group in groups)
        + "\n        ]"
        for kind, groups in value["requests"].items()
    )
    return f'{{{"".join(facts)}\n      "requests": {{\n{kinds}\n      }}\n    }}'


if __name__ == "__main__":
    CATALOGUE.write_text(catalogue_text(), encoding="utf-8")
    sys.stdout.write(f"wrote {CATALOGUE}\n")
