"""POST /configs/preflight: the consequences of a config, and nothing is created."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from admin_api.app import AdminApi
from contracts.coverage import to_milliseconds
from support.api import a_config, created
from support.stored_ledgers import MINUTE, iso, store_series

pytestmark = pytest.mark.postgres


async def checked(client: httpx.AsyncClient, **overrides: Any) -> dict[str, Any]:
    answer = await client.post("/configs/preflight", json=a_config(**overrides))
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_it_shows_horizon_rate_and_history(api: AdminApi, client: httpx.AsyncClient) -> None:
    await created(client, exchange="kraken", symbol="ETH/USD", timeframes=["1m"], interval_minutes=1)
    await created(client, exchange="kraken", symbol="XRP/USD", timeframes=["1m"], interval_minutes=1, enabled=False)
    first = to_milliseconds(datetime.now(UTC)) // MINUTE * MINUTE - 600 * MINUTE
    await store_series(api.engine, first, first + MINUTE, exchange="kraken", symbol="BTC/USD")
    start = (datetime.now(UTC) - timedelta(days=10)).date().isoformat()
    wanted = {"exchange": "kraken", "symbol": "BTC/USD", "timeframes": ["1m", "1h"], "interval_minutes": 900}
    found = await checked(client, **wanted, start_date=start)
    minutes, hours = found["series"]
    assert (minutes["first_candle"], minutes["newest_readable"], minutes["loses_between_runs"]) == (
        iso(first),
        720,
        True,
    )
    age = datetime.now(UTC) - datetime.fromisoformat(minutes["horizon"])
    assert timedelta(minutes=718) < age < timedelta(minutes=722)
    assert (hours["first_candle"], hours["loses_between_runs"]) == (None, False)
    assert found["budget"]["other_configs"] == pytest.approx(1.2)
    assert found["budget"]["limit"] == 60.0
    assert found["budget"]["share_after"] == pytest.approx((1.2 + found["budget"]["this_config"]) / 60, abs=1e-5)
    [lost] = found["history"]["never_available"]
    assert (lost["timeframe"], lost["absence_class"]) == ("1m", "beyond_horizon")
    assert 0 < (datetime.fromisoformat(found["whole_at"]) - datetime.now(UTC)).total_seconds() < 60
    assert len(found["warnings"]) == 1
    assert len((await client.get("/configs")).json()) == 2


async def test_it_refuses_what_the_creation_refuses(client: httpx.AsyncClient) -> None:
    await created(client)
    assert (await client.post("/configs/preflight", json=a_config())).status_code == 409
    assert (await client.post("/configs/preflight", json=a_config(exchange="nowhere"))).status_code == 422
    without = await checked(client, symbol="ETH/USDT")
    assert (without["history"], without["whole_at"]) == (None, None)
    assert (await client.get("/configs/preflight")).status_code == 405


async def test_a_config_to_change_does_not_conflict_with_itself(client: httpx.AsyncClient) -> None:
    wanted = {"exchange": "kraken", "symbol": "BTC/USD", "timeframes": ["1m"], "interval_minutes": 1}
    mine = await created(client, **wanted)
    other = await created(client, **wanted | {"timeframes": ["1h"]})
    path = f"/configs/preflight?config_id={mine['id']}"
    found = (await client.post(path, json=a_config(**wanted | {"interval_minutes": 5}))).json()
    alone = (await client.post("/configs/preflight", json=a_config(**wanted | {"symbol": "ETH/USD"}))).json()
    assert found["budget"]["other_configs"] < alone["budget"]["other_configs"]
    conflict = await client.post(path, json=a_config(**wanted | {"timeframes": ["1m", "1h"]}))
    assert (conflict.status_code, conflict.json()["config_id"]) == (409, other["id"])
