"""What black-box tests of the running API do all the time."""

import uuid
from typing import Any

import httpx

from support.polling import eventually


async def new_config(api: httpx.AsyncClient, **overrides: Any) -> dict[str, Any]:
    """A config that nobody else has. Disabled, so that it asks no exchange for a symbol that it does not know."""
    body = {
        "symbol": f"X{uuid.uuid4().hex[:10].upper()}/USDT",
        "exchange": "binance",
        "timeframes": ["1m", "1h"],
        "interval_minutes": 10,
        "enabled": False,
    } | overrides
    answer = await api.post("/configs", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def free_symbol(api: httpx.AsyncClient, symbol: str) -> None:
    for config in (await api.get("/configs", params={"exchange": "binance"})).json():
        if config["symbol"] == symbol:
            await api.delete(f"/configs/{config['id']}")


async def finished(api: httpx.AsyncClient, **filters: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        runs = (await api.get("/execution-logs", params=filters)).json()
        return next((run for run in runs if run["status"] != "running"), None)

    return await eventually(look, within=60)
