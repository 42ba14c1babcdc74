"""The candles and the verified spans of one series, as candle-writer keeps them. Messages may repeat, in any order."""

from dataclasses import dataclass, field

from contracts.candles import Candle
from contracts.spans import Interval, Intervals, hull, subtract, union
from support.coverage_model.truth import is_unfinished


@dataclass(frozen=True, kw_only=True)
class Collected:
    """One message of a collector: the content of `CandlesCollected`."""

    timeframe: str
    fetched_at: int
    candles: tuple[Candle, ...]
    verified: Intervals
    rejected: frozenset[tuple[int, str]]
    """Open time and text of rows that cannot be candles."""
    lag_ms: int
    """How old the answer was. The collector does not know this."""


@dataclass
class Ledger:
    """The stored facts about one series."""

    stored: dict[int, tuple[Candle, int]] = field(default_factory=dict)
    """Open time to the candle and the time of its fetch."""
    verified: Intervals = ()
    lost: Intervals = ()
    """The spans that runs have reported as lost."""
    rejected: set[tuple[int, str]] = field(default_factory=set)
    unfinished: set[int] = field(default_factory=set)
    """Candles that were stored with values from before their close, because the exchange lagged behind."""

    def apply(self, message: Collected) -> None:
        for candle in message.candles:
            known = self.stored.get(candle.open_ms)
            if known is None or known[1] <= message.fetched_at:
                self.stored[candle.open_ms] = (candle, message.fetched_at)
                (self.unfinished.add if is_unfinished(candle) else self.unfinished.discard)(candle.open_ms)
        self.verified = union([*self.verified, *message.verified])
        self.rejected |= message.rejected

    def open_holes(self) -> Intervals:
        return subtract(hull(self.verified), self.verified)

    def is_verified(self, slot: Interval) -> bool:
        return not subtract([slot], self.verified)
