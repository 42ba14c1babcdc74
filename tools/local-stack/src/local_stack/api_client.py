"""The demo's requests to the public API: it creates example configs and reads finished runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from local_stack.errors import StackError
from runtime.printable import printable

BASE = "/api/v1/admin/data-collection"
POLL_SECONDS = 1.0
FIRST_HEADLINE_SECONDS = 15.0
HEADLINE_SECONDS = 60.0
PAGE = 200
CREATED, CONFLICT, REFUSED = 201, 409, 422

EXAMPLES = (
    ("BTC/USDT", "binance", "Bitcoin"),
    ("ETH/USDT", "bybit", "Ethereum"),
    ("SOL/USDT", "okx", "Solana"),
    ("XRP/USDT", "kraken", "XRP"),
)


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """The part of a row of the run log that the demo shows in one line."""

    log_id: int
    finished_at: str
    symbol: str
    exchange: str
    status: str
    records: int
    seconds: float
    error: str | None

    def line(self) -> str:
        outcome = f"{self.records:>5} candles" if self.error is None else self._reason()[:90]
        clock = self.finished_at[11:19]
        line = f"{clock}  {self.symbol:<10} {self.exchange:<9} {self.status:<8} {self.seconds:6.2f} s  {outcome}"
        return printable(line)

    def _reason(self) -> str:
        return next(iter((self.error or "").splitlines()), "")


def client(api_url: str, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"{api_url}{BASE}", headers={"Authorization": f"Bearer {token}"}, timeout=10, trust_env=False
    )


async def create_examples(api: httpx.AsyncClient, report: Callable[[str], None]) -> dict[str, Any] | None:
    """Create the missing example configs, and report those that are refused, for example because EXCHANGES_ALLOWED does
    not permit the exchange. Returns one config for the example commands, or None if there is none.
    """
    for symbol, exchange, description in EXAMPLES:
        config = {
            "symbol": symbol,
            "exchange": exchange,
            "timeframes": ["1m", "5m", "1h"],
            "interval_minutes": 1,
            "description": description,
        }
        response = await api.post("/configs", json=config)
        if response.status_code == REFUSED:
            report(f"no example of {exchange}: {response.json()['detail']}")
        elif response.status_code not in {CREATED, CONFLICT}:  # a conflict: an earlier start created it
            raise StackError(f"the API refused the example config {symbol} on {exchange}: {response.text[:300]}")
    configs = (await api.get("/configs", params={"limit": 1})).raise_for_status().json()
    return next(iter(configs), None)


async def finished_runs(api: httpx.AsyncClient) -> AsyncIterator[FinishedRun]:
    """Every run that finishes from now on, in this order. If the API restarts, this waits for it."""
    seen: frozenset[int] | None = None
    while True:
        try:
            response = await api.get("/execution-logs", params={"limit": PAGE})
            rows = response.raise_for_status().json()
        except httpx.HTTPError:
            await asyncio.sleep(POLL_SECONDS)
            continue
        finished = [row for row in rows if row["finished_at"] is not None]
        if seen is not None:
            for run in new_runs(finished, seen):
                yield run
        seen = frozenset(row["id"] for row in finished)
        await asyncio.sleep(POLL_SECONDS)


async def headlines(api: httpx.AsyncClient) -> AsyncIterator[str]:
    """How complete all series are, in one line, each minute in which it changes."""
    before: str | None = None
    await asyncio.sleep(FIRST_HEADLINE_SECONDS)
    while True:
        with contextlib.suppress(httpx.HTTPError):  # the API may be restarting
            response = await api.get("/completeness")
            (total,) = response.raise_for_status().json()
            if (line := headline(total)) not in {before, None}:
                before = line
                yield f"{datetime.now(UTC):%H:%M:%S}  {line}"
        await asyncio.sleep(HEADLINE_SECONDS)


def headline(total: dict[str, Any]) -> str | None:
    """None if there are no periods yet."""
    if total["whole_percent"] is None:
        return None
    return (
        f"{total['whole_percent']:.2f} % whole, {total['answered_percent']:.2f} % answered: "
        f"{total['series']} series, {total['verified_periods']} of {total['closed_periods']} periods verified"
    )


def new_runs(finished: Sequence[dict[str, Any]], seen: frozenset[int]) -> Iterator[FinishedRun]:
    rows = [row for row in finished if row["id"] not in seen]
    for row in sorted(rows, key=lambda row: (row["finished_at"], row["id"])):
        yield FinishedRun(
            log_id=row["id"],
            finished_at=row["finished_at"],
            symbol=row["symbol"],
            exchange=row["exchange"],
            status=row["status"],
            records=row["records_collected"] or 0,
            seconds=row["duration_seconds"] or 0.0,
            error=row["error_message"],
        )
