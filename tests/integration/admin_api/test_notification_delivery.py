"""The delivery of notifications: restarts, several instances, broken receivers, quiet hours, and credentials."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from admin_api.__main__ import app
from admin_api.app import AdminApi
from local_stack.ports import free_port
from store.tables import execution_logs, notifications
from support.admin_api_processes import Start, exit_of, response_of
from support.api import created
from support.log_text import log_text
from support.notifying import WITHIN, Notify, several_rounds
from support.polling import eventually
from support.receivers import Mailbox, Webhook, webhook

pytestmark = pytest.mark.postgres

AddRun = Callable[..., Awaitable[int]]
LoginUrl = Callable[[str], str]
SECRET = "Hx7Secret9Qz"
START = 120.0
"""Seconds. Two processes start at once, which takes long on a busy machine."""
TITLE = "binance: runs fail (timeout), 1 config"


async def test_a_restart_in_the_middle_of_a_problem_repeats_nothing(
    api: AdminApi, client: httpx.AsyncClient, add_run: AddRun, notify: Notify, hook: Webhook
) -> None:
    config = await created(client)
    await add_run(config_id=config["id"], status="failed")
    async with notify(hook.url()):
        await eventually(lambda: len(hook.messages) == 1, within=WITHIN)
        await several_rounds(api.engine)
    async with notify(hook.url()):
        await several_rounds(api.engine)
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
            await several_rounds(api.engine)
            assert [each.is_active for each in (second_chance, waiting, also_waiting)] == [True, False, False]
            second_chance.task.cancel()
            await eventually(lambda: waiting.is_active or also_waiting.is_active, within=WITHIN)
            await several_rounds(api.engine)
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
            await several_rounds(api.engine)
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
        await several_rounds(api.engine)

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
        await several_rounds(api.engine)
        assert hook.attempts == 0
        late = timedelta(hours=2)
        await eventually(lambda: hook.messages, within=WITHIN)
        await several_rounds(api.engine)
    assert hook.titles == ["Candlekeep: 1 problem and 1 over"]
    lines = hook.messages[0]["message"].splitlines()
    assert lines[0] == "The quiet hours held these messages back:"
    assert sorted(line.split(".")[0] for line in lines[1:]) == [
        "- already over: kraken: 1 run stuck",
        "- binance: runs fail (timeout), 1 of 2 configs",
    ]


async def test_no_credential_of_an_address_is_in_a_log_a_table_or_a_metric(
    api: AdminApi, client: httpx.AsyncClient, add_run: AddRun, notify: Notify, hook: Webhook
) -> None:
    await add_run(config_id=(await created(client))["id"], status="failed")
    url = hook.url(f"{SECRET}/x?+X-Key={SECRET}").replace("json://", f"json://user:{SECRET}@")
    hook.status = 403
    with log_text("json", "console") as text:
        logging.getLogger().setLevel(logging.DEBUG)
        async with notify(url) as running:
            await eventually(lambda: running.attempts("failed") >= 2, within=WITHIN)
            counted = str(running.metrics.notifications.collect())
            assert "1 (json)" in counted
            assert SECRET not in counted
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
        await several_rounds(api.engine)
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


async def test_after_kill_9_another_process_goes_on_without_repetition(
    start: Start, login_url: LoginUrl, api: AdminApi, client: httpx.AsyncClient, add_run: AddRun
) -> None:
    """Two real processes with the rights of admin-api only. The active one is killed in the middle of a problem."""
    config = (await created(client))["id"]
    await add_run(config_id=config, status="failed")
    async with webhook() as hook:
        ports = [free_port(), free_port()]
        variables = {
            "DATABASE_URL": login_url("admin-api"),
            "NOTIFY_URLS": f"json://user:{SECRET}@127.0.0.1:{hook.port}/{SECRET}",
            "NOTIFY_GROUP_SECONDS": "0",
        }
        processes = {port: await start(HTTP_PORT=str(port), **variables) for port in ports}
        metrics = {port: f"http://127.0.0.1:{port}/metrics" for port in ports}

        for url in metrics.values():
            await response_of(url, 200, within=START)

        async def active() -> int | None:
            shown = [port for port in ports if processes[port].returncode is None]
            texts = {port: (await response_of(metrics[port], 200)).text for port in shown}
            assert not any(SECRET in text for text in texts.values())
            return next((port for port, text in texts.items() if "candlekeep_notifier_active 1.0" in text), None)

        first = await eventually(active, within=WITHIN)
        await eventually(lambda: hook.titles == [f"Candlekeep: {TITLE}"], within=WITHIN)
        await eventually(lambda: _is_reported(api), within=WITHIN)
        processes[first].kill()
        _, _, err = await exit_of(processes[first])
        assert "notification_sent" in err
        assert SECRET not in err
        second = await eventually(active, within=WITHIN)
        assert second != first
        await add_run(config_id=config, minutes_ago=1)
        await eventually(lambda: len(hook.messages) > 1, within=WITHIN)
        assert hook.titles == [f"Candlekeep: {TITLE}", f"Candlekeep: resolved: {TITLE}"]
        processes[second].send_signal(signal.SIGTERM)
        code, _, err = await exit_of(processes[second])
        assert code == 0, err
        assert SECRET not in err


async def _is_reported(api: AdminApi) -> bool:
    async with api.engine.connect() as connection:
        reported = await connection.execute(sa.select(notifications.c.reported_at))
    return [each is not None for each in reported.scalars()] == [True]
