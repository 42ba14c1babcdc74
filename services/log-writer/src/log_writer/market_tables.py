"""Applies lists of markets to the tables `markets` and `market_lists`."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.bounds import MAX_CLOCK_DIFFERENCE
from contracts.markets import MarketsListed, MarketState
from log_writer.lifecycle import Comparison, LastList, LifecyclePolicy, Market, compare
from runtime.database import driver_transaction

_LOCK: Final = """
SELECT read_at, markets, incomplete_since FROM market_lists WHERE (exchange, kind) = ($1, $2) FOR UPDATE
"""

_KNOWN: Final = """
SELECT symbol, market_id, state, since, evidence, frozen_at, missing_since, missing_lists, last_listed, renamed_to,
       created_at
FROM markets WHERE (exchange, kind) = ($1, $2)
"""

_WRITE_LIST: Final = """
INSERT INTO market_lists (exchange, kind, read_at, markets, incomplete_since) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (exchange, kind) DO UPDATE SET
  read_at = excluded.read_at, markets = excluded.markets, incomplete_since = excluded.incomplete_since
"""

_WRITE: Final = """
INSERT INTO markets (exchange, kind, symbol, market_id, state, since, evidence, frozen_at, missing_since, missing_lists,
                     last_listed, renamed_to, created_at)
SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::timestamptz[],
                             $9::timestamptz[], $10::int[], $11::timestamptz[], $12::text[], $13::timestamptz[])
ON CONFLICT (exchange, symbol) DO UPDATE SET
  market_id = excluded.market_id, state = excluded.state, since = excluded.since, evidence = excluded.evidence,
  frozen_at = excluded.frozen_at, missing_since = excluded.missing_since, missing_lists = excluded.missing_lists,
  last_listed = excluded.last_listed, renamed_to = excluded.renamed_to, created_at = excluded.created_at
"""


async def apply_lists(
    engine: AsyncEngine, lists: Iterable[MarketsListed], policy: LifecyclePolicy
) -> list[tuple[MarketsListed, Comparison]]:
    """Apply the lists in their order, each in one transaction. A list that is repeated, or is older than the last one,
    changes nothing. Returns the changes by the other lists.
    """
    applied = [(each, await _apply(engine, each, policy)) for each in lists]
    return [(listed, comparison) for listed, comparison in applied if comparison is not None]


def require_believable(lists: Iterable[MarketsListed], now: datetime) -> None:
    """Raises `ValueError` for a list with a time in the future. If it were stored, all real lists would be older and
    would change nothing.
    """
    for each in lists:
        if each.occurred_at > now + MAX_CLOCK_DIFFERENCE:
            raise ValueError(f"the list of markets of {each.exchange} is of {each.occurred_at}, which is after {now}")


async def _apply(engine: AsyncEngine, listed: MarketsListed, policy: LifecyclePolicy) -> Comparison | None:
    key = (listed.exchange, listed.kind.value)
    async with driver_transaction(engine) as connection:
        row = await connection.fetchrow(_LOCK, *key)
        known = {each["symbol"]: _market(each) for each in await connection.fetch(_KNOWN, *key)}
        comparison = compare(known, None if row is None else LastList(*row), listed, policy)
        if comparison is not None:
            last = comparison.last
            await connection.execute(_WRITE_LIST, *key, last.read_at, last.markets, last.incomplete_since)
            if comparison.changed:
                await connection.execute(_WRITE, *key, *zip(*map(_row, comparison.changed), strict=True))
        return comparison


def _market(row: Any) -> Market:
    values = dict(row)
    return Market(state=MarketState(values.pop("state")), **values)


def _row(market: Market) -> tuple[Any, ...]:
    return (
        market.symbol,
        market.market_id,
        market.state.value,
        market.since,
        market.evidence,
        market.frozen_at,
        market.missing_since,
        market.missing_lists,
        market.last_listed,
        market.renamed_to,
        market.created_at,
    )
