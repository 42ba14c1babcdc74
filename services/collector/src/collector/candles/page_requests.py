"""The requests of a run for pages, its limits, and the result of one answer."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from collector.candles.pages import BadRow
from contracts.coverage import SETTLE_TIME
from contracts.spans import Intervals

EARLIEST_SINCE_MS: Final = 1_262_304_000_000
"""2010-01-01. No exchange has older candles. Without this limit, a first page of `1M` would begin before 1970."""


@dataclass(frozen=True)
class PageRequest:
    """One request: candles that open at `since` (ms) or later, at most `limit`, and before `until` if it is given."""

    timeframe: str
    since: int
    limit: int
    until: int | None = None


@dataclass(frozen=True, kw_only=True)
class ReadingLimits:
    """Bounds of one run of one series."""

    max_pages: int = 100
    settle_ms: int = SETTLE_TIME // timedelta(milliseconds=1)
    """Silence that is younger than this is not verified, because exchanges publish candles of quiet minutes late."""


@dataclass(frozen=True)
class Proof:
    """The result of one answer."""

    verified: Intervals
    """The spans that the answer vouches for."""
    rejected: tuple[BadRow, ...]
    """Rows that cannot be candles. The exchange has sent them twice."""
