"""Common steps of black-box tests of the running API."""

import uuid
from typing import Any

import httpx

from support.polling import eventually


async def new_config(api: httpx.AsyncClient, **overrides: Any) -> dict[str, Any]:
    """Create a config with a unique symbol. It is disabled, because no exchange has this symbol."""
    body = {
        "symbol": f"X{uuid.uuid4().hex[:10].upper()}/USDT",
        "exchange": "binance",
        "timeframes": ["1m", "1h"],
        "interval_minutes": 10,
        "enabled": False,
    } | overrides
    response = await api.post("/configs", json=body)
    assert response.status_code == 201, response.text
    config: dict[str, Any] = response.json()
    return config


async def free_symbol(api: httpx.AsyncClient, symbol: str) -> None:
    for config in (await api.get("/configs", params={"exchange": "binance"})).json():
        if config["symbol"] == symbol:
            await api.delete(f"/configs/{config['id']}")


async def finished(api: httpx.AsyncClient, **filters: str) -> dict[str, Any]:
    async def find_finished() -> dict[str, Any] | None:
        runs = (await api.get("/execution-logs", params=filters)).json()
        return next((run for run in runs if run["status"] != "running"), None)

    return await eventually(find_finished, within=60)
