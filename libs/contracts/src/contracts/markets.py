"""The lists of markets of the exchanges. Topic `market-lists`, compacted, keyed by exchange and kind of market."""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints
from typing_extensions import override

from contracts.bounds import STORABLE, Name
from contracts.event import Event, Instant, Model
from contracts.vocabulary import ExchangeId, Symbol

MAX_MARKETS_PER_LIST: Final = 10_000
"""The largest number of markets in a list. The longest real lists have about 5,000 spot markets."""

MarketId = Annotated[str, STORABLE, StringConstraints(min_length=1, max_length=200)]
"""The exchange's own name of a market, such as `BTCUSDT`."""


class ListKind(StrEnum):
    """The kind of the markets in a list. Spot markets and swaps are read with different requests."""

    SPOT = "spot"
    SWAP = "swap"


class MarketState(StrEnum):
    """The state of a market, as the lists of its exchange show it."""

    LISTED = "listed"
    SUSPENDED = "suspended"
    """The exchange lists the market as not active."""
    RENAMED = "renamed"
    """The exchange lists the id of the market under another symbol."""
    DELISTED = "delisted"
    """The market is absent from several lists over some hours."""


class ListedMarket(Model):
    """A market in a list."""

    symbol: Symbol
    id: MarketId = Field(description="The exchange's own name of the market.")
    active: bool | None = Field(default=None, description="Null: the exchange does not say whether it is traded.")
    created_at: Instant | None = Field(
        default=None, description="When the market was created, as the exchange says. This proves nothing."
    )


class MarketsListed(Event):
    """A collector has read the list of all spot markets, or of all perpetual swaps, of an exchange."""

    type: Literal["MarketsListed"] = "MarketsListed"
    exchange: ExchangeId
    kind: ListKind = Field(description="The kind of all markets in the list.")
    markets: tuple[ListedMarket, ...] = Field(
        min_length=1,
        max_length=MAX_MARKETS_PER_LIST,
        description="The markets, ascending by symbol, each symbol once. The list may be incomplete.",
    )
    collector: Name = Field(description="The collector that has read the list, as host:pid.")

    @override
    def key(self) -> str:
        return f"{self.exchange}|{self.kind.value}"
