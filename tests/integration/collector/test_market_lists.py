"""Lists of markets of the simulated exchanges, read through ccxt and compared, and rows after a delisting."""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from collector.exchange.market_lists import listed_markets
from contracts.coverage import AbsenceClass, to_milliseconds
from contracts.markets import ListedMarket, ListKind, MarketsListed, MarketState
from log_writer.lifecycle import LastList, LifecyclePolicy, Market, compare
from support.collecting import Exchanges, Simulator, rows_of

NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)
"""The frozen time of the simulator is half a minute later."""


class Listener:
    """Compares each list of the collector's clients with the one before, as log-writer does."""

    def __init__(self, exchanges: Exchanges) -> None:
        clients, self.lists = exchanges.clients, list[tuple[ListedMarket, ...]]()
        self.client = clients.get("binance")
        self.client._report_markets = self._report
        self.known: dict[str, Market] = {}
        self.last: LastList | None = None
        self.policy = LifecyclePolicy(min_lists=2, min_time=timedelta(0))

    def _report(self, _exchange: str, kind: str, markets: Collection[Mapping[str, Any]]) -> None:
        self.lists.append(listed_markets(kind, markets))

    async def list(self) -> dict[str, str]:
        """Read the list again. Returns the changes by symbol."""
        markets = self.client._markets("BTC/USDT")
        await markets.symbols()
        markets._read_at = float("-inf")
        await markets.refresh()
        listed = MarketsListed(
            occurred_at=NOON + timedelta(hours=len(self.lists)),
            exchange="binance",
            kind=ListKind.SPOT,
            markets=self.lists[-1],
            collector="here:1",
        )
        found = compare(self.known, self.last, listed, self.policy)
        assert found is not None
        self.known |= {each.symbol: each for each in found.changed}
        self.last = found.last
        return {symbol: change.value for change, symbol in found.changes}


async def test_a_market_is_suspended_renamed_delisted_and_listed_again(
    simulator: Simulator, exchanges_at: Callable[..., Exchanges]
) -> None:
    listener = Listener(exchanges_at(simulator.base))
    assert await listener.list() == {}
    assert len(listener.known) > 20
    await simulator.set_history("binance", "ETH/USDT", status="inactive")
    await simulator.set_history("binance", "XRP/USDT", renamed_to="XRPNEW")
    await simulator.set_history("binance", "BTC/USDT", status="vanished")
    assert await listener.list() == {
        "ETH/USDT": "suspended",
        "XRP/USDT": "renamed",
        "XRPNEW/USDT": "listed",
        "BTC/USDT": "missing",
    }
    assert listener.known["XRP/USDT"].renamed_to == "XRPNEW/USDT"
    assert await listener.list() == {"BTC/USDT": "delisted"}
    for symbol in ("ETH/USDT", "BTC/USDT"):
        await simulator.set_history("binance", symbol)
    assert await listener.list() == {"ETH/USDT": "resumed", "BTC/USDT": "relisted"}
    assert listener.known["BTC/USDT"].state is MarketState.LISTED


@pytest.mark.parametrize("suspended", [True, False])
async def test_flat_rows_of_a_suspended_market_are_not_stored(
    suspended: bool, simulator: Simulator, exchanges_at: Callable[..., Exchanges], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exchange fills the last 20 minutes. The list has shown the suspension for 15 minutes."""
    since = NOON - timedelta(minutes=20)
    await simulator.set_history(
        "binance",
        "BTC/USDT",
        status="inactive" if suspended else "trading",
        fills=True,
        silences=[[since.isoformat(), (NOON + timedelta(hours=1)).isoformat()]],
    )
    exchanges = exchanges_at(simulator.base)
    client = exchanges.clients.get("binance")
    await client.require("BTC/USDT", "1m")
    assert (client.not_traded_since("BTC/USDT") is not None) == suspended
    noticed = NOON - timedelta(minutes=15)
    monkeypatch.setattr(client, "not_traded_since", lambda _symbol: noticed if suspended else None)
    found = await exchanges.collect("binance", "1m", collected_until=NOON - timedelta(hours=1))
    newest = to_milliseconds(noticed if suspended else NOON) - 60_000
    assert max(row[0] for row in rows_of(found)) == newest
    delisted = [each for each in found.absences() if each.absence_class is AbsenceClass.DELISTED]
    assert [each.milliseconds() for each in delisted] == (
        [(to_milliseconds(noticed), to_milliseconds(NOON))] if suspended else []
    )
