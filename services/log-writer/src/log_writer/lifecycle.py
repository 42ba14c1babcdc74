"""Decides from lists of markets which markets are new, suspended, renamed, delisted or listed again. Pure.

A list may be incomplete. So a market that is absent from one list is unconfirmed: it is delisted if it is absent from
several lists over some hours. A list without a large part of the known markets does not count for this, unless the
lists stay incomplete for days.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from contracts.bounds import FIRST_INSTANT
from contracts.markets import ListedMarket, MarketsListed, MarketState

_FEW: Final = 5
"""If a list contains more than half of the known markets, and at most this number of them is absent, the list counts as
complete.
"""


class Change(StrEnum):
    """The difference between two lists for one market."""

    LISTED = "listed"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    MISSING = "missing"
    FOUND = "found"
    """The market was absent from a list, and is listed again before it counted as delisted."""
    RENAMED = "renamed"
    DELISTED = "delisted"
    RELISTED = "relisted"
    NEW_ID = "new_id"
    """The exchange lists the symbol under another id. It may be another asset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecyclePolicy:
    """The numbers behind the decisions."""

    min_lists: int = 3
    """The number of lists without a market before it counts as delisted."""
    min_time: timedelta = timedelta(hours=6)
    """The time between the first and the last of these lists."""
    incomplete_time: timedelta = timedelta(hours=72)
    """If a large part of the markets is absent from all lists for this time, the lists count as complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """A market according to the lists until now: a row of `markets`."""

    symbol: str
    market_id: str
    state: MarketState
    since: datetime
    """The time of the first list that shows this state."""
    evidence: str
    frozen_at: datetime | None = None
    """The last time at which the market may have been traded. None if the market is listed."""
    missing_since: datetime | None = None
    """The time of the first list that does not contain the market. None if the last list contains it."""
    missing_lists: int = 0
    last_listed: datetime | None = None
    """The time of the last list that contained the market. None if the newest list contains it."""
    renamed_to: str | None = None
    created_at: datetime | None = None
    """The creation time that the exchange states. It proves nothing."""


@dataclass(frozen=True, slots=True)
class LastList:
    """The last list of an exchange and kind."""

    read_at: datetime
    markets: int
    incomplete_since: datetime | None = None
    """The time since which all lists were without a large part of the markets. None if the last list is complete."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The changes that a list causes."""

    last: LastList
    changed: tuple[Market, ...] = ()
    """The rows to write, ascending by symbol."""
    changes: tuple[tuple[Change, str], ...] = ()
    """Each difference with its symbol."""


def compare(
    known: Mapping[str, Market], previous: LastList | None, listed: MarketsListed, policy: LifecyclePolicy
) -> Comparison | None:
    """The changes that a list causes for the known markets of its exchange and kind. None if the list is not newer than
    the last one.
    """
    if previous is not None and listed.occurred_at <= previous.read_at:
        return None
    now, markets = listed.occurred_at, {each.symbol: each for each in listed.markets}
    incomplete = _lacks_a_large_part(known, markets)
    since = (previous.incomplete_since if previous is not None else None) or now
    last = LastList(now, len(markets), since if incomplete else None)
    counts = not incomplete or now - since >= policy.incomplete_time
    names = _new_names(known, markets)
    decided: list[tuple[Market, Change | None]] = []
    for symbol in sorted({*known, *markets}):
        before, market = known.get(symbol), markets.get(symbol)
        if market is not None:
            decided.append(_present(before, market, previous, now))
        elif before is not None and before.state not in {MarketState.DELISTED, MarketState.RENAMED}:
            decided.append(_absent(before, names.get(symbol), previous, last, policy, counts=counts))
    changed = tuple(market for market, _ in decided if market != known.get(market.symbol))
    return Comparison(last, changed, tuple((change, market.symbol) for market, change in decided if change is not None))


def _lacks_a_large_part(known: Mapping[str, Market], markets: Mapping[str, ListedMarket]) -> bool:
    alive = [each.symbol for each in known.values() if each.state in {MarketState.LISTED, MarketState.SUSPENDED}]
    lost = sum(1 for symbol in alive if symbol not in markets)
    return lost > max(_FEW, len(alive) // 10) or 0 < len(alive) <= 2 * lost


def _new_names(known: Mapping[str, Market], markets: Mapping[str, ListedMarket]) -> dict[str, str]:
    """The new symbol of each known market whose id the list has under another symbol."""
    by_id = {each.id: each.symbol for each in markets.values() if each.symbol not in known}
    return {
        symbol: by_id[market.market_id]
        for symbol, market in known.items()
        if symbol not in markets and market.market_id in by_id
    }


def _present(
    before: Market | None, market: ListedMarket, previous: LastList | None, now: datetime
) -> tuple[Market, Change | None]:
    state = MarketState.SUSPENDED if market.active is False else MarketState.LISTED
    if before is None:
        evidence = f"first seen in the list of {_time(now)}" + (" as not active" if market.active is False else "")
        new = Market(
            symbol=market.symbol,
            market_id=market.id,
            state=state,
            since=now,
            evidence=evidence,
            # A market that was never seen as active may be inactive for years.
            frozen_at=FIRST_INSTANT if state is MarketState.SUSPENDED else None,
            created_at=market.created_at,
        )
        return new, Change.LISTED if previous is not None else None
    found = replace(
        before,
        market_id=market.id,
        missing_since=None,
        missing_lists=0,
        last_listed=None,
        created_at=market.created_at or before.created_at,
    )
    if state is not before.state:
        return _restated(found, before, state, previous, now)
    if market.id != before.market_id:
        evidence = f"the list of {_time(now)} has it with the id {market.id} instead of {before.market_id}"
        return replace(found, since=now, evidence=evidence), Change.NEW_ID
    return found, None if before.missing_since is None else Change.FOUND


def _restated(
    found: Market, before: Market, state: MarketState, previous: LastList | None, now: datetime
) -> tuple[Market, Change]:
    """The new row of a market that is listed now and had another state before."""
    gone = before.state in {MarketState.DELISTED, MarketState.RENAMED}
    active = "" if state is MarketState.LISTED else " as not active"
    evidence = f"in the list of {_time(now)}{active}; it was {before.state} since {_time(before.since)}"
    last_time = previous.read_at if previous is not None else now
    frozen_at = None if state is MarketState.LISTED else before.frozen_at or last_time
    restated = replace(found, state=state, since=now, evidence=evidence, frozen_at=frozen_at, renamed_to=None)
    if gone:
        return restated, Change.RELISTED
    return restated, Change.SUSPENDED if state is MarketState.SUSPENDED else Change.RESUMED


def _absent(
    before: Market,
    new_name: str | None,
    previous: LastList | None,
    last: LastList,
    policy: LifecyclePolicy,
    *,
    counts: bool,
) -> tuple[Market, Change | None]:
    now = last.read_at
    last_listed = before.last_listed or (previous.read_at if previous is not None else before.since)
    frozen_at = before.frozen_at or last_listed
    if new_name is not None:
        evidence = f"the list of {_time(now)} has its id {before.market_id} with the symbol {new_name}"
        renamed = replace(
            before,
            state=MarketState.RENAMED,
            since=now,
            evidence=evidence,
            frozen_at=frozen_at,
            missing_since=None,
            missing_lists=0,
            last_listed=last_listed,
            renamed_to=new_name,
        )
        return renamed, Change.RENAMED
    missing = replace(
        before,
        missing_since=before.missing_since or now,
        missing_lists=before.missing_lists + counts,
        last_listed=last_listed,
    )
    since = missing.missing_since or now
    if missing.missing_lists < policy.min_lists or now - since < policy.min_time:
        return missing, Change.MISSING if before.missing_since is None else None
    evidence = (
        f"absent from {missing.missing_lists} lists from {_time(since)} to {_time(now)}, the last with {last.markets} "
        f"markets; last listed at {_time(last_listed)}"
    )
    return (
        replace(missing, state=MarketState.DELISTED, since=since, evidence=evidence, frozen_at=frozen_at),
        Change.DELISTED,
    )


def _time(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
