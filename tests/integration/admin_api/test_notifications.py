"""Notifications: from problems in the database to a webhook and a mail server on loopback."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from typer.testing import CliRunner

from admin_api.__main__ import app
from admin_api.app import AdminApi
from admin_api.metrics import Metrics
from admin_api.notifications.notifier import Notifier, Pace
from admin_api.settings import AdminApiSettings
from contracts.coverage import to_milliseconds
from runtime.metrics import new_registry
from store.tables import configs, execution_logs, notifications
from support.api import created
from support.log_text import log_text
from support.polling import eventually
from support.receivers import Mailbox, Webhook, mailbox, webhook
from support.stored_ledgers import MINUTE, store_ledger, store_series

pytestmark = pytest.mark.postgres

AddRun = Callable[..., Awaitable[int]]
Settings = Callable[..., AdminApiSettings]
SECRET = "Hx7Secret9Qz"
FAST = Pace(between_rounds=0.05, first_retry=0.05, last_retry=0.2)
WITHIN = 60.0
KRAKEN = {"exchange": "kraken", "symbol": "BTC/USD", "timeframe": "1m"}


@pytest.fixture
async def hook() -> AsyncIterator[Webhook]:
    async with webhook() as made:
        yield made


@pytest.fixture
async def mails() -> AsyncIterator[Mailbox]:
    async with mailbox() as made:
        yield made


@dataclass
class Running:
    task: asyncio.Task[None]
    metrics: Metrics
    settings: AdminApiSettings

    def attempts(self, outcome: str) -> float:
        metric = self.metrics.notifications.collect()[0]
        return sum(
            sample.value
            for sample in metric.samples
            if sample.name.endswith("_total") and sample.labels["outcome"] == outcome
        )

    @property
    def is_active(self) -> bool:
        return self.metrics.notifier_active._value.get() == 1


Notify = Callable[..., Any]


@pytest.fixture
def notify(api: AdminApi, a_setting: Settings) -> Notify:
    """Runs a notifier inside the block. At its end, the notifier is cancelled, as by a kill."""

    @asynccontextmanager
    async def run(*urls: str, clock: Callable[[], datetime] | None = None, **settings: Any) -> AsyncIterator[Running]:
        values = a_setting(notify_urls=SecretStr(" ".join(urls)), **({"notify_group_seconds": 0} | settings))
        metrics = Metrics(new_registry())
        notifier = Notifier(values, metrics, api.engine, pace=FAST, clock=clock or (lambda: datetime.now(UTC)))
        task = asyncio.create_task(notifier.run())
        try:
            yield Running(task, metrics, values)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return run


async def several_rounds(api: AdminApi) -> None:
    """Waits until the notifier has looked at the present problems, and has written this twice."""

    async def newest() -> datetime | None:
        async with api.engine.connect() as connection:
            return (await connection.execute(sa.select(sa.func.max(notifications.c.last_seen)))).scalar_one()

    for _ in range(2):
        before = await newest() or datetime.fromtimestamp(0, UTC)

        async def is_later(before: datetime = before) -> bool:
            seen = await newest()
            return seen is not None and seen > before

        await eventually(is_later, within=WITHIN)


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


async def test_a_restart_in_the_middle_of_a_problem_repeats_nothing(
    api: AdminApi, client: httpx.AsyncClient, add_run: AddRun, notify: Notify, hook: Webhook
) -> None:
    config = await created(client)
    await add_run(config_id=config["id"], status="failed")
    async with notify(hook.url()):
        await eventually(lambda: len(hook.messages) == 1, within=WITHIN)
        await several_rounds(api)
    async with notify(hook.url()):
        await several_rounds(api)
        assert len(hook.messages) == 1
    await add_run(config_id=config["id"], minutes_ago=1)  # it ends while nothing runs
    async with notify(hook.url()):
        await eventually(lambda: len(hook.messages) == 2, within=WITHIN)
    assert hook.titles[1] == "Candlekeep: resolved: binance: runs fail (timeout), 1 config"


async def test_only_one_of_several_instances_sends_and_another_takes_over(
    api: AdminApi, client: httpx.AsyncClient, add_run: AddRun, notify: Notify, hook: Webhook
) -> None:
    config = await created(client)
    await add_run(config_id=config["id"], status="failed")
    async with notify(hook.url()) as second_chance:
        await eventually(lambda: second_chance.is_active, within=WITHIN)
        async with notify(hook.url()) as waiting, notify(hook.url()) as also_waiting:
            await eventually(lambda: len(hook.messages) == 1, within=WITHIN)
            await several_rounds(api)
            assert [each.is_active for each in (second_chance, waiting, also_waiting)] == [True, False, False]
            second_chance.task.cancel()
            await eventually(lambda: waiting.is_active or also_waiting.is_active, within=WITHIN)
            await several_rounds(api)
            assert len(hook.messages) == 1
            await add_run(config_id=config["id"], minutes_ago=1)
            await eventually(lambda: len(hook.messages) == 2, within=WITHIN)
            assert sum(each.attempts("sent") for each in (second_chance, waiting, also_waiting)) == 2


async def test_broken_receivers_delay_no_other_and_get_the_message_later_once(
    api: AdminApi, client: httpx.AsyncClient, add_run: AddRun, notify: Notify, hook: Webhook, mails: Mailbox
) -> None:
    config = await created(client)
    await add_run(config_id=config["id"], status="failed")
    hook.status = 500
    async with webhook() as silent:
        silent.status = None
        urls = (hook.url(), silent.url(), mails.url())
        async with notify(*urls, notify_timeout_seconds=1) as running:
            await eventually(lambda: len(mails.mails) == 1, within=WITHIN)
            await eventually(lambda: hook.attempts >= 2 and silent.attempts >= 1, within=WITHIN)
            assert running.attempts("failed") >= 2
            hook.status = silent.status = 200
            await eventually(lambda: len(hook.messages) == 1 and len(silent.messages) >= 1, within=WITHIN)
            await several_rounds(api)
    assert (len(hook.messages), len(mails.mails)) == (1, 1)


async def test_quiet_hours_hold_messages_back_and_a_summary_follows(
    api: AdminApi, client: httpx.AsyncClient, add_run: AddRun, notify: Notify, hook: Webhook
) -> None:
    start = datetime.now(UTC)
    hours = f"{start - timedelta(hours=1):%H:%M}-{start + timedelta(hours=1):%H:%M}"
    late = timedelta()
    config = await created(client)
    await created(client, symbol="ETH/USDT")
    await add_run(config_id=config["id"], status="failed")  # still the last one after the jump of the clock
    stuck = await add_run(status="running", minutes_ago=45, exchange="kraken", symbol="BTC/USD")
    kinds = {"notify_problems": ["failed_runs", "stuck_runs"]}
    async with notify(
        hook.url(), clock=lambda: datetime.now(UTC) + late, notify_quiet_hours=hours, **kinds, notify_group_seconds=1
    ):
        await several_rounds(api)

        async def lasted() -> bool:
            async with api.engine.connect() as connection:
                columns = notifications.c
                rows = await connection.execute(sa.select(columns.last_seen - columns.first_seen))
                lengths = rows.scalars().all()
            return len(lengths) == 2 and min(lengths) > timedelta(seconds=1)

        await eventually(lasted, within=WITHIN)
        async with api.engine.begin() as connection:
            ended = {"status": "success", "finished_at": datetime.now(UTC)}
            await connection.execute(sa.update(execution_logs).where(execution_logs.c.id == stuck).values(ended))
        await several_rounds(api)
        assert hook.attempts == 0
        late = timedelta(hours=2)
        await eventually(lambda: hook.messages, within=WITHIN)
        await several_rounds(api)
    assert hook.titles == ["Candlekeep: 1 problem and 1 over"]
    lines = hook.messages[0]["message"].splitlines()
    assert lines[0] == "The quiet hours held these messages back:"
    assert sorted(line.split(".")[0] for line in lines[1:]) == [
        "- already over: kraken: 1 run stuck",
        "- binance: runs fail (timeout), 1 of 2 configs",
    ]


async def test_no_credential_of_an_address_is_in_a_log_a_table_or_a_metric(
    api: AdminApi, a_setting: Settings, client: httpx.AsyncClient, add_run: AddRun, notify: Notify, hook: Webhook
) -> None:
    await add_run(config_id=(await created(client))["id"], status="failed")
    url = hook.url(f"{SECRET}/x?+X-Key={SECRET}").replace("json://", f"json://user:{SECRET}@")
    hook.status = 403
    with log_text("json", "console") as text:
        logging.getLogger().setLevel(logging.DEBUG)
        async with notify(url) as running:
            await eventually(lambda: running.attempts("failed") >= 2, within=WITHIN)
            assert "1 (json)" in str(running.metrics.notifications.collect()[0].samples)
            assert SECRET not in str(running.metrics.notifications.collect())
            assert SECRET not in repr(running.settings)
            hook.status = 200
            await eventually(lambda: hook.messages, within=WITHIN)
            await eventually(lambda: "notification_sent" in text.getvalue(), within=WITHIN)
    assert "Forbidden" in text.getvalue() or "403" in text.getvalue()
    assert SECRET not in text.getvalue()
    async with api.engine.connect() as connection:
        rows = (await connection.execute(sa.text("SELECT notifications::text FROM notifications"))).scalars().all()
    assert rows
    assert not any(SECRET in row for row in rows)


async def test_receivers_that_are_no_longer_in_the_settings_leave_no_state(
    api: AdminApi, client: httpx.AsyncClient, add_run: AddRun, notify: Notify, hook: Webhook
) -> None:
    await add_run(config_id=(await created(client))["id"], status="failed")
    async with notify(hook.url("old")):
        await eventually(lambda: len(hook.messages) == 1, within=WITHIN)
    async with notify(hook.url("new")):
        await eventually(lambda: len(hook.messages) == 2, within=WITHIN)
        await several_rounds(api)
        async with api.engine.connect() as connection:
            receivers = (await connection.execute(sa.select(notifications.c.receiver))).scalars().all()
    assert len(receivers) == 1


async def test_the_test_command_says_what_failed(
    hook: Webhook, mails: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(*urls: str) -> tuple[int, str]:
        monkeypatch.setenv("NOTIFY_URLS", " ".join(urls))
        result = await asyncio.to_thread(CliRunner().invoke, app, ["notify-test"])
        return result.exit_code, result.output

    assert await run(hook.url(), mails.url()) == (
        0,
        "receiver 1 (json): accepted the message\nreceiver 2 (mailto): accepted the message\n",
    )
    assert hook.titles == mails.subjects == ["Candlekeep: test message"]
    hook.status = 404
    code, shown = await run(hook.url(SECRET), mails.url())
    assert code == 1
    assert shown.startswith("receiver 1 (json): failed: ")
    assert "404" in shown
    assert "receiver 2 (mailto): accepted the message" in shown
    assert SECRET not in shown
    assert (await run(""))[0] == 2


async def test_a_message_that_cannot_be_read_from_the_database_does_not_stop_the_notifier(
    api: AdminApi, client: httpx.AsyncClient, add_run: AddRun, notify: Notify, hook: Webhook
) -> None:
    """For example during a migration: the table is locked away and comes back."""
    await add_run(config_id=(await created(client))["id"], status="failed")
    async with api.engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE notifications RENAME TO hidden"))
    with log_text("json") as text:
        async with notify(hook.url()) as running:
            await eventually(lambda: "notifier_" in text.getvalue(), within=WITHIN)
            async with api.engine.begin() as connection:
                await connection.execute(sa.text("ALTER TABLE hidden RENAME TO notifications"))
            await eventually(lambda: len(hook.messages) == 1, within=WITHIN)
            assert not running.task.done()
