"""Publishes the lists of markets that the collector reads, for the comparison with earlier lists in log-writer."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from collector.exchange.newest_publisher import NewestPublisher
from contracts.coverage import to_instant
from contracts.markets import MAX_MARKETS_PER_LIST, ListedMarket, ListKind, MarketsListed
from contracts.symbols import kind_of
from contracts.topics import MARKET_LISTS
from runtime.kafka.clients import MAX_MESSAGE_BYTES
from runtime.kafka.publisher import EventPublisher
from runtime.logs import log

_MARKET: Final = TypeAdapter(ListedMarket)
_MAX_BYTES: Final = MAX_MESSAGE_BYTES * 9 // 10
"""The largest size of the list. The rest of the limit is for the headers and the frame of the message."""


class MarketListPublisher(NewestPublisher):
    """Publishes the newest list of each exchange and kind of market."""

    def __init__(self, publisher: EventPublisher, collector: str) -> None:
        """`collector` names this instance."""
        super().__init__(publisher, MARKET_LISTS)
        self._collector = collector

    def report(self, exchange: str, kind: str, markets: Collection[Mapping[str, Any]]) -> None:
        """Schedule the list for publication, and return at once. `markets` are as ccxt parsed them."""
        listed = listed_markets(kind, markets)
        problem = "it has no valid market" if not listed else None
        if len(listed) > MAX_MARKETS_PER_LIST:
            problem = f"it has {len(listed)} markets, more than {MAX_MARKETS_PER_LIST}"
        if problem is None:
            event = MarketsListed(
                occurred_at=datetime.now(UTC),
                exchange=exchange,
                kind=ListKind(kind),
                markets=listed,
                collector=self._collector,
            )
            # Kafka would refuse it at each attempt.
            if (size := len(event.model_dump_json())) <= _MAX_BYTES:
                self.schedule(event)
                return
            problem = f"it has {size} bytes, more than {_MAX_BYTES}"
        log.warning(
            f"The list of {kind} markets of {exchange} is not compared with earlier lists: {problem}",
            action="market_list_not_published",
            exchange=exchange,
        )


def listed_markets(kind: str, markets: Collection[Mapping[str, Any]]) -> tuple[ListedMarket, ...]:
    """The valid markets of this kind, ascending by symbol, each symbol once. Pure.

    If a symbol occurs more than once, an active market is used, because exchanges list a market and its successor
    together.
    """
    found: dict[str, ListedMarket] = {}
    for raw in markets:
        market = _read(raw)
        if market is None or kind_of(market.symbol) != kind:
            continue
        known = found.get(market.symbol)
        if known is None or (known.active is False and market.active is not False):
            found[market.symbol] = market
    return tuple(found[symbol] for symbol in sorted(found))


def _read(raw: Mapping[str, Any]) -> ListedMarket | None:
    active = raw.get("active")
    try:
        return _MARKET.validate_python(
            {
                "symbol": raw.get("symbol"),
                "id": str(raw.get("id") or raw.get("symbol")),
                "active": active if isinstance(active, bool) else None,
                "created_at": _created(raw.get("created")),
            }
        )
    except ValidationError:
        return None


def _created(milliseconds: object) -> datetime | None:
    """The time that ccxt calls `created`. None if it cannot be the creation time of a market."""
    if not isinstance(milliseconds, int) or not 0 < milliseconds < 2**42:
        return None
    return to_instant(milliseconds)
