"""The requests for the proof of a listing, against an exchange that answers from its true candles."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from collector.candles.page_requests import EARLIEST_SINCE_MS
from collector.evidence.listing import MAX_PAGES
from collector.evidence.prove_listing import ListingRequest, prove_listing
from collector.exchange.traits import ExchangeTraits
from contracts.coverage import Absence, AbsenceClass, to_instant
from contracts.spans import Intervals

HOUR = 3_600_000
DAY = 24 * HOUR
FIRST = EARLIEST_SINCE_MS + 3000 * DAY + 7 * HOUR
NOW = datetime(2026, 11, 27, tzinfo=UTC)
LENGTHS = {"1h": HOUR, "1d": DAY}
PAGE = 300


@dataclass
class Exchange:
    """Hourly candles of each symbol from its listing on; older ones than a horizon are not offered."""

    listed: dict[str, int]
    horizon: dict[str, int] = field(default_factory=dict)
    """By timeframe: the open time of the oldest candle that is offered."""
    flat_until: int = 0
    """Candles before this time have no volume."""
    requests: int = 0

    async def candles(self, symbol: str, timeframe: str, since: int, limit: int) -> Sequence[Sequence[Any]]:
        self.requests += -(-limit // PAGE)
        length, listed = LENGTHS[timeframe], self.listed[symbol]
        first = max(listed // length * length, self.horizon.get(timeframe, 0), since)
        opens = range(-(-first // length) * length, since + limit * length, length)
        return [[each, 1, 1, 1, 1, 0 if each < self.flat_until else 5] for each in opens]

    async def trades(self, symbol: str, since: int, until: int, limit: int) -> Sequence[dict[str, Any]]:
        raise NotImplementedError

    async def closed(self) -> Intervals:
        raise NotImplementedError


async def proved(exchange: Exchange, first: int = FIRST, **changes: Any) -> Absence | str:
    values: dict[str, Any] = {
        "symbol": "NEW/USDT",
        "timeframe": "1h",
        "first": first,
        "timeframes": ["1m", "1h", "1d"],
        "page": PAGE,
        "other_symbols": ("YOUNG/USDT", "BTC/USDT"),
        "created": None,
        "run_id": UUID(int=7),
    }
    return await prove_listing(exchange, ExchangeTraits(), ListingRequest(**values | changes), lambda: NOW)


def an_exchange(**changes: Any) -> Exchange:
    listed = {"NEW/USDT": FIRST, "BTC/USDT": FIRST - 2000 * DAY, "YOUNG/USDT": FIRST + DAY}
    return Exchange(listed, **changes)


async def test_all_time_before_the_first_candle_is_before_the_listing() -> None:
    exchange = an_exchange()
    found = await proved(exchange)
    assert isinstance(found, Absence)
    assert (found.start, found.end) == (to_instant(EARLIEST_SINCE_MS), to_instant(FIRST))
    assert (found.absence_class, found.level) == (AbsenceClass.BEFORE_LISTING, 3)
    assert [each.answered for each in found.proof][:2] == ["no candle before 2018-03-20 07:00 UTC", "no candle"]
    assert found.proof[2].answered == "300 and 30 candles from before the first one"
    assert {each.run_ids for each in found.proof} == {(UUID(int=7),)}
    assert exchange.requests <= MAX_PAGES


@pytest.mark.parametrize("timeframe", ["1h", "1d"])
async def test_a_horizon_proves_nothing(timeframe: str) -> None:
    """The exchange has forgotten what is older than the first candle, of all symbols."""
    length = LENGTHS[timeframe]
    exchange = an_exchange(horizon={timeframe: FIRST // length * length})
    assert await proved(exchange) == (
        "no other symbol shows that the exchange offers candles from before the first one"
    )


async def test_older_candles_are_found() -> None:
    exchange = an_exchange()
    assert await proved(exchange, first=FIRST + 5 * HOUR) == "the exchange has older candles"


async def test_flat_rows_of_another_symbol_prove_nothing() -> None:
    found = await proved(an_exchange(flat_until=FIRST))
    assert found == "no other symbol shows that the exchange offers candles from before the first one"


async def test_an_old_market_is_not_taken_for_a_new_one() -> None:
    found = await proved(an_exchange(), created=FIRST - 1000 * DAY)
    assert found == "the exchange says that the market is older than its first candle"


async def test_an_exchange_with_short_pages_only_is_not_asked() -> None:
    exchange = an_exchange()
    assert "too many pages" in str(await proved(exchange, page=5))
    assert exchange.requests == 0
