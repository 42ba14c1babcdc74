from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.markets import ListedMarket, ListKind, MarketsListed
from log_writer.lifecycle import Change, LifecyclePolicy
from log_writer.market_tables import apply_lists, require_believable
from support.writers import query

pytestmark = pytest.mark.postgres

START = datetime(2026, 3, 1, 10, tzinfo=UTC)
NAMES = [f"{name}/USDT" for name in "ABCDE"]
STATES = "SELECT symbol, state, since, frozen_at, missing_lists, renamed_to FROM markets WHERE symbol = 'A/USDT'"


def a_list(hour: float, symbols: Sequence[str], *, kind: ListKind = ListKind.SPOT) -> MarketsListed:
    created = datetime(2020, 1, 1, tzinfo=UTC)
    return MarketsListed(
        occurred_at=START + timedelta(hours=hour),
        exchange="binance",
        kind=kind,
        markets=tuple(ListedMarket(symbol=each, id=f"{each} id", active=True, created_at=created) for each in symbols),
        collector="here:1",
    )


async def apply(engine: AsyncEngine, *lists: MarketsListed) -> list[tuple[Change, str]]:
    return [each for _, found in await apply_lists(engine, lists, LifecyclePolicy()) for each in found.changes]


async def test_a_market_is_listed_missing_delisted_and_listed_again(engine: AsyncEngine, database_url: str) -> None:
    assert await apply(engine, a_list(0, NAMES)) == []
    without = [a_list(hour, NAMES[1:]) for hour in range(1, 8)]
    assert await apply(engine, without[0]) == [(Change.MISSING, "A/USDT")]
    assert await query(database_url, STATES) == [("A/USDT", "listed", START, None, 1, None)]
    assert await apply(engine, *without[1:]) == [(Change.DELISTED, "A/USDT")]
    first_without = START + timedelta(hours=1)
    assert await query(database_url, STATES) == [("A/USDT", "delisted", first_without, START, 7, None)]
    assert await apply(engine, *without, a_list(0, NAMES)) == [], "lists that come again change nothing"
    assert await apply(engine, a_list(8, NAMES)) == [(Change.RELISTED, "A/USDT")]
    again = START + timedelta(hours=8)
    assert await query(database_url, STATES) == [("A/USDT", "listed", again, None, 0, None)]
    assert await query(database_url, "SELECT exchange, kind, read_at, markets, incomplete_since FROM market_lists") == [
        ("binance", "spot", again, 5, None)
    ]


async def test_the_list_of_swaps_says_nothing_about_spot_markets(engine: AsyncEngine, database_url: str) -> None:
    await apply(engine, a_list(0, NAMES), a_list(0, ["A/USDT:USDT"], kind=ListKind.SWAP))
    await apply(engine, *(a_list(hour, ["A/USDT:USDT"], kind=ListKind.SWAP) for hour in range(1, 100)))
    counted = "SELECT kind, state, count(*), sum(missing_lists)::int FROM markets GROUP BY 1, 2 ORDER BY 1"
    assert await query(database_url, counted) == [("spot", "listed", 5, 0), ("swap", "listed", 1, 0)]


def test_a_list_from_the_future_is_not_believed() -> None:
    require_believable([a_list(0.9, NAMES)], START)
    with pytest.raises(ValueError, match="the list of markets of binance"):
        require_believable([a_list(1.1, NAMES)], START)
