"""Attacks on the schedule of the exchanges: manual and initial runs without end."""

import asyncio

from support.abuse.attack import Counts, Target

_EXCHANGES = ("binance", "bybit", "coinbase", "kraken", "okx")


async def bulk_triggers(target: Target, counts: Counts) -> None:
    """Trigger all configs of each exchange, several times at once, also those of other people."""
    async with target.client(target.operator) as client:
        for _ in range(2):
            bodies = [{"select": {"exchange": exchange, "enabled": True}} for exchange in _EXCHANGES]
            await asyncio.gather(
                *(counts.request(client, "POST", "/configs/bulk/trigger", json=body) for body in bodies)
            )


async def enabling_and_disabling(target: Target, counts: Counts) -> None:
    """Disable and enable configs again and again. Each enabling requests an initial run."""
    body = {"select": {"ids": target.spare_ids}}
    async with target.client(target.operator) as client:
        for _ in range(5):
            await counts.request(client, "POST", "/configs/bulk/disable", json=body)
            await counts.request(client, "POST", "/configs/bulk/enable", json=body)
        for config_id in target.spare_ids[:3]:
            await counts.request(client, "POST", f"/configs/{config_id}/disable")
            await counts.request(client, "POST", f"/configs/{config_id}/enable")


async def triggers_of_one_config(target: Target, counts: Counts) -> None:
    async with target.client(target.operator) as client:
        path = f"/configs/{target.spare_ids[0]}/trigger"
        await asyncio.gather(*(counts.request(client, "POST", path) for _ in range(10)))
