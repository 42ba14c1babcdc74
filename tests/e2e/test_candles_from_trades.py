"""History that the exchange no longer has as candles becomes whole from its trades, through the whole system."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from local_stack.stack import Stack
from support.black_box import free_symbol, new_config
from support.polling import eventually

pytestmark = [
    pytest.mark.system,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="session"),
]

HONEST, FALSIFIED = "ADA/EUR", "DOT/EUR"
PAIRS = {FALSIFIED: "DOTEUR"}
KEPT = timedelta(minutes=720)


def wanted_range() -> tuple[datetime, datetime]:
    """Three hours before the oldest candle. The ids of simulated trades jump between months, so no month begins
    inside.
    """
    end = datetime.now(UTC).replace(second=0, microsecond=0) - KEPT
    month = end.replace(day=1, hour=0, minute=0)
    if end - timedelta(hours=4) < month:
        end = min(end, month - timedelta(minutes=30))
    return end - timedelta(hours=3), end


@pytest_asyncio.fixture(loop_scope="session")
async def simulator(system: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=str(system.simulator_url), timeout=20) as client:
        yield client
        await client.delete("/control/moods")


@pytest_asyncio.fixture(loop_scope="session")
async def configs(api: httpx.AsyncClient, simulator: httpx.AsyncClient) -> AsyncIterator[None]:
    """Two series of Kraken, whose newest candles are verified. Some old trades of one of them are falsified."""
    since = datetime.now(UTC) - KEPT + timedelta(minutes=30)
    query = {"pair": PAIRS[FALSIFIED], "since": int(since.timestamp()), "count": 200}
    answer = (await simulator.get("/api.kraken.com/0/public/Trades", params=query)).json()
    [rows] = [each for each in answer["result"].values() if isinstance(each, list)]
    page = {"falsified_trades": [row[6] for row in rows]}
    mood = {"kind": "page", "exchange": "kraken", "symbol": FALSIFIED, "page": page}
    assert (await simulator.post("/control/moods", json=mood)).status_code == 201
    made = []
    for symbol in (HONEST, FALSIFIED):
        await free_symbol(api, symbol)
        made.append(
            await new_config(
                api, exchange="kraken", symbol=symbol, timeframes=["1m"], interval_minutes=1440, enabled=True
            )
        )
    await eventually(lambda: both_verified(api), within=60)
    yield
    for config in made:
        await api.delete(f"/configs/{config['id']}")


async def coverage(api: httpx.AsyncClient, symbol: str, **query: Any) -> dict[str, Any]:
    names = {"exchange": "kraken", "symbol": symbol, "timeframe": "1m"}
    answer = await api.get("/coverage", params=names | query)
    found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
    return found


async def both_verified(api: httpx.AsyncClient) -> bool:
    return all([(await coverage(api, each)).get("verified_from") for each in (HONEST, FALSIFIED)])


async def ended(api: httpx.AsyncClient, backfill_id: int) -> dict[str, Any] | None:
    """The progress of a backfill that is whole, or that failed."""
    progress: dict[str, Any] = (await api.get(f"/backfills/{backfill_id}")).json()["progress"]
    return progress if progress["is_whole"] or progress["chunks"]["failed"] else None


@pytest.mark.usefixtures("configs")
async def test_old_candles_are_built_from_proved_trades_and_from_no_others(
    api: httpx.AsyncClient, simulator: httpx.AsyncClient
) -> None:
    start, end = wanted_range()
    span = {"start": start.isoformat(), "end": end.isoformat()}
    backfills = {}
    for symbol in (HONEST, FALSIFIED):
        series = [{"exchange": "kraken", "symbol": symbol, "timeframe": "1m"}]
        body = span | {"series": series, "source": "trades"}
        cost = (await api.post("/backfills", json=body | {"dry_run": True})).json()["estimate"]
        [kraken] = cost["exchanges"]
        assert 5 <= kraken["from_trades"]["requests"] <= 10
        assert cost["never_available"] == []
        backfills[symbol] = (await api.post("/backfills", json=body)).json()["id"]

    progress = await eventually(lambda: ended(api, backfills[HONEST]), within=120)
    assert progress["is_whole"], progress["reasons"]
    found = await coverage(api, HONEST, **span)
    assert (found["whole"], found["periods_from_trades"]) == (1.0, 180)
    names = {"exchange": "kraken", "symbol": HONEST, "timeframe": "1m"}
    stored = (await api.get("/candles", params=names | span)).json()
    milliseconds: dict[str, Any] = {
        name: int(datetime.fromisoformat(value).timestamp() * 1000) for name, value in span.items()
    }
    truth = (await simulator.get("/control/truth", params=milliseconds | names)).json()
    fields = ("open", "high", "low", "close", "volume")
    assert [[row[each] for each in fields] for row in stored] == [row[1:6] for row in truth if row[5] > 0]
    assert {row["source"] for row in stored} == {"trades"}
    assert min(row["trades"] for row in stored) > 0

    progress = await eventually(lambda: ended(api, backfills[FALSIFIED]), within=120)
    assert not progress["is_whole"]
    [reason] = progress["reasons"]
    assert reason["error_class"] == "unproven_trades"
    assert "differ from the exchange's own candles" in reason["reason"]
    assert "from the trades, " in reason["reason"]
    found = await coverage(api, FALSIFIED, **span)
    assert (found["verified_periods"], found["periods_from_trades"]) == (0, 0)
    assert (await api.get("/candles", params=names | span | {"symbol": FALSIFIED})).json() == []
