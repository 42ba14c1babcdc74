"""Requests the trades around a hole. Their ids can prove silence, and their times show when the exchange traded.

An answer without trades proves nothing: neither silence nor an outage.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, Protocol

from collector.candles.pages import SeriesCalendar
from collector.evidence.decide import Tape
from collector.evidence.sources import Trade, periods_of, trade_of, trade_time_of
from collector.exchange.failures import ExchangeFailure
from collector.exchange.traits import ExchangeTraits
from contracts.coverage import Evidence, EvidenceKind, to_instant, to_milliseconds
from contracts.exchange_catalogue import market_kind
from contracts.spans import Interval, Intervals, intersect, subtract, union
from contracts.timeframes import HOUR_MS

MAX_TRADES: Final = 1000
MAX_TAPE_PAGES: Final = 8
"""The largest number of requests for one tape. A tape that does not reach across the hole proves nothing."""


class TradeSource(Protocol):
    """The requests for trades of one exchange. They raise `ExchangeFailure`."""

    async def trades(self, symbol: str, since: int, until: int, limit: int) -> Sequence[dict[str, Any]]:
        """Trades as ccxt returns them, with `id` and `timestamp`. Exchanges may ignore `until`, or end earlier."""


@dataclass(frozen=True)
class Tapes:
    """The requests for trades about one hole."""

    source: TradeSource
    traits: ExchangeTraits
    hole: Interval
    calendar: SeriesCalendar
    evidence: Callable[[EvidenceKind, int, str, str], Evidence]
    now: Callable[[], datetime]

    def offered(self, symbol: str, since: int) -> bool:
        """Whether ccxt can request the trades of the symbol from `since` on."""
        if market_kind(symbol) in self.traits.trades_since:
            return True
        newest = self.traits.newest_trades_ms
        return newest is not None and to_milliseconds(self.now()) - newest <= since

    async def by_ids(self, symbol: str) -> list[Tape]:
        """The tape, which begins a little before the hole. If its ids jump there, it is read once more from an earlier
        time. Empty if the ids of the exchange are not sequential.
        """
        start, end = self.hole
        if not self.traits.sequential_trade_ids or not self.offered(symbol, start):
            return []
        reach = max(min(end - start, HOUR_MS), self.calendar.nominal_ms)
        tape: set[Trade] = set()
        for before in (reach, 10 * reach):
            since = max(0, start - before)
            await self._read_tape(symbol, tape, since, end + reach)
            silent = [two for one, two in pairwise(sorted(tape)) if one.at < start and two.at >= end]
            if silent or any(start <= each.at < end for each in tape):
                break
        trades = tuple(sorted(tape))
        ids = f"{len(trades)} trades, ids {trades[0].id} to {trades[-1].id}" if trades else "no trades"
        asked = f"trades from {to_instant(since).isoformat()}"
        return [Tape(trades, self.evidence(EvidenceKind.TRADE_IDS, 1, asked, ids))]

    async def traded(self, symbol: str, silence: Intervals) -> tuple[Intervals, Evidence] | None:
        """The silent periods in which the symbol was traded, and the evidence. None if there is no such trade.

        The ids need not be sequential, because the time of a trade is enough to show that the exchange traded.
        """
        if not silence or not self.offered(symbol, silence[0][0]):
            return None
        since, shown, count = silence[0][0], Intervals(), 0
        asked = f"trades of {symbol} from {to_instant(since).isoformat()}"
        for _ in range(MAX_TAPE_PAGES):
            times = [each for row in await self._request(symbol, since) if (each := trade_time_of(row)) is not None]
            inside = [each for each in times if any(start <= each < end for start, end in silence)]
            shown, count = union([*shown, *periods_of(inside, self.calendar)]), count + len(inside)
            latest = max(times, default=0)
            since = self.calendar.close_of(self.calendar.floor_open(latest)) if latest >= since else since + HOUR_MS
            left = subtract(silence, [(0, since)])
            if not left:
                break
            since = max(since, left[0][0])
        if not shown:
            return None
        answered = f"{count} trades within the silence"
        return intersect(silence, shown), self.evidence(EvidenceKind.WITNESS, 1, asked, answered)

    async def _read_tape(self, symbol: str, tape: set[Trade], since: int, until: int) -> None:
        """Add the trades from `since` to the first one after the hole. Some exchanges send at most an hour per request.
        So if the answer is not a full page, the next request begins an hour later. Trades that are left out can only
        weaken the proof.
        """
        for _ in range(MAX_TAPE_PAGES):
            rows = await self.source.trades(symbol, since, until, MAX_TRADES)
            trades = {trade for row in rows if (trade := trade_of(row)) is not None}
            tape |= trades
            latest = max((each.at for each in trades), default=since)
            if latest >= self.hole[1] or since >= until:
                return
            since = latest if len(rows) >= MAX_TRADES and latest > since else min(until, since + HOUR_MS)

    async def _request(self, symbol: str, since: int) -> Sequence[dict[str, Any]]:
        """The trades from `since` on.

        Empty if the exchange refuses the request: some exchanges offer only recent trades.
        """
        try:
            return await self.source.trades(symbol, since, max(self.hole[1], since + 1), MAX_TRADES)
        except ExchangeFailure as failure:
            if failure.retryable:
                raise
            return ()
