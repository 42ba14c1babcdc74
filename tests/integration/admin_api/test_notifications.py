"""The problems in the database that become messages, with a webhook and a mail server on loopback."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from contracts.coverage import to_milliseconds
from store.tables import configs, execution_logs
from support.api import created
from support.notifying import WITHIN, Notify
from support.polling import eventually
from support.receivers import Mailbox, Webhook
from support.stored_ledgers import MINUTE, store_ledger, store_series

pytestmark = pytest.mark.postgres

AddRun = Callable[..., Awaitable[int]]
KRAKEN = {"exchange": "kraken", "symbol": "BTC/USD", "timeframe": "1m"}


async def test_without_receivers_nothing_runs(api: AdminApi) -> None:
    assert api.notifier is None


async def test_failed_runs_are_grouped_by_exchange_and_cause_and_resolved(
    client: httpx.AsyncClient, add_run: AddRun, notify: Notify, hook: Webhook, mails: Mailbox
) -> None:
    failing = [await created(client, symbol=f"{base}/USDT") for base in ("BTC", "ETH", "SOL")]
    other = await created(client, exchange="kraken", symbol="BTC/USD")
    for config in failing[:2]:
        await add_run(config_id=config["id"], status="failed", error_class="banned", error_message="HTTP 418")
    await add_run(config_id=failing[2]["id"], minutes_ago=30, status="failed")
    await add_run(config_id=failing[2]["id"], minutes_ago=5)  # the last run decides
    await add_run(config_id=other["id"], exchange="kraken", status="failed", error_class="timeout")
    async with notify(hook.url(), mails.url(), notify_dashboard_url="https://candles.example.com"):
        await eventually(lambda: len(hook.messages) == 2 and len(mails.mails) == 2, within=WITHIN)
        opened = [
            "Candlekeep: binance: runs fail (banned), 2 of 3 configs",
            "Candlekeep: kraken: runs fail (timeout), 1 config",
        ]
        assert sorted(hook.titles) == sorted(mails.subjects) == opened
        body = next(message["message"] for message in hook.messages if "binance" in message["title"])
        assert f"BTC/USDT (config {failing[0]['id']}): HTTP 418" in body
        assert "https://candles.example.com/runs?status=failed" in body
        for config in failing[:2]:
            await add_run(config_id=config["id"], minutes_ago=1)
        await eventually(lambda: len(hook.messages) == 3 and len(mails.mails) == 3, within=WITHIN)
    resolved = "Candlekeep: resolved: binance: runs fail (banned), 2 of 3 configs"
    assert [hook.titles[2], mails.subjects[2]] == [resolved, resolved]
    assert hook.messages[2]["type"] == "success"
    assert [mail["to"] for mail in mails.mails] == ["ops@example.com"] * 3


async def test_a_stuck_run_is_notified_and_resolved(
    api: AdminApi, add_run: AddRun, notify: Notify, hook: Webhook
) -> None:
    stuck = await add_run(status="running", minutes_ago=45)
    await add_run(status="running", minutes_ago=5)
    async with notify(hook.url()):
        await eventually(lambda: hook.titles == ["Candlekeep: binance: 1 run stuck"], within=WITHIN)
        assert f"run {stuck}" in hook.messages[0]["message"]
        async with api.engine.begin() as connection:
            ended = {"status": "success", "finished_at": datetime.now(UTC)}
            await connection.execute(sa.update(execution_logs).where(execution_logs.c.id == stuck).values(ended))
        await eventually(lambda: hook.titles[1:] == ["Candlekeep: resolved: binance: 1 run stuck"], within=WITHIN)


async def test_a_hole_that_is_about_to_be_lost_is_notified_and_resolved(
    api: AdminApi, client: httpx.AsyncClient, notify: Notify, hook: Webhook
) -> None:
    now = to_milliseconds(datetime.now(UTC)) // MINUTE * MINUTE
    await created(client, exchange="kraken", symbol="BTC/USD", timeframes=["1m"], interval_minutes=60)
    series_id = await store_series(api.engine, now - 3000 * MINUTE, now - MINUTE, **KRAKEN)
    # Kraken offers the newest 720 candles. The hole is lost in 40 minutes, before two more runs.
    hole = (now - 680 * MINUTE, now - 670 * MINUTE)
    await store_ledger(api.engine, series_id, [(now - 3000 * MINUTE, hole[0]), (hole[1], now)])
    async with notify(hook.url()):
        title = "kraken: candles of 1 series will be lost"
        await eventually(lambda: hook.titles == [f"Candlekeep: {title}"], within=WITHIN)
        assert "BTC/USD (1m)" in hook.messages[0]["message"]
        assert hook.messages[0]["type"] == "failure"
        await store_ledger(api.engine, series_id, [(now - 3000 * MINUTE, now)])
        await eventually(lambda: hook.titles[1:] == [f"Candlekeep: resolved: {title}"], within=WITHIN)


async def test_configs_without_runs_are_notified(
    api: AdminApi, client: httpx.AsyncClient, notify: Notify, hook: Webhook
) -> None:
    silent = await created(client)
    await created(client, symbol="ETH/USDT")
    async with api.engine.begin() as connection:
        old = datetime.now(UTC) - timedelta(hours=2)
        await connection.execute(sa.update(configs).where(configs.c.id == silent["id"]).values(updated_at=old))
    async with notify(hook.url()):
        await eventually(lambda: hook.titles == ["Candlekeep: binance: no runs, 1 of 2 configs"], within=WITHIN)
