"""The outbox' way to Kafka: nothing lost, order per key, one sender at a time, whatever goes down in between."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi, build_api
from admin_api.configs.service import resync
from admin_api.relay.relay import _awake
from admin_api.writes.outbox import announcement, append
from contracts.configs import CollectionConfig, ConfigChanged, ConfigRemoved
from contracts.ticks import TickDue
from contracts.topics import CONFIG_CHANGES, TICKS
from local_stack.kafka_provider import MemoryKafka, command_memory_kafka
from runtime.settings import KafkaSettings
from store.tables import outbox
from support.api import client_of, created
from support.faults.proxy import proxying
from support.kafka import Recorder, recording
from support.polling import eventually

pytestmark = [pytest.mark.postgres, pytest.mark.kafka]

Start = Callable[..., AbstractAsyncContextManager[AdminApi]]
Command = Callable[[str], Awaitable[None]]


@pytest.fixture
def running(a_setting: Any) -> Start:
    """An instance whose relay runs, on a given Kafka."""

    @asynccontextmanager
    async def start(kafka: KafkaSettings, **changes: Any) -> AsyncIterator[AdminApi]:
        api = build_api(
            a_setting(
                **changes,
                kafka_bootstrap_servers=kafka.kafka_bootstrap_servers,
                kafka_topic_prefix=kafka.kafka_topic_prefix,
                kafka_request_timeout_ms=2_000,
            )
        )
        task = asyncio.create_task(api.relay.run())
        try:
            yield api
        finally:
            await api.relay.stop()
            async with asyncio.timeout(15):
                await task
            await api.engine.dispose()

    return start


@pytest.fixture
async def frail(tmp_path: Path) -> AsyncIterator[tuple[KafkaSettings, Command]]:
    """A Kafka of this test's own that goes `down 1` and `up 1` on command."""
    kafka = await MemoryKafka.start(logs=tmp_path, run=tmp_path, reason="a test takes it down")

    async def command(line: str) -> None:
        await command_memory_kafka(kafka.control, [line])

    settings = KafkaSettings(kafka_bootstrap_servers=kafka.bootstrap, kafka_fetch_max_wait_ms=20)
    yield settings, command
    await kafka.stop()


async def backlog(api: AdminApi) -> int:
    async with api.engine.connect() as connection:
        return await connection.scalar(sa.select(sa.func.count()).select_from(outbox)) or 0


async def emptied(api: AdminApi, within: float = 20) -> None:
    async def is_empty() -> bool:
        return await backlog(api) == 0

    await eventually(is_empty, within=within)


def versions(recorder: Recorder) -> list[int]:
    """Of all ConfigChanged in order of arrival, repetitions of a version that was seen left out."""
    seen = [event.config.version for event in recorder.events(ConfigChanged)]
    return list(dict.fromkeys(seen))


async def test_changes_arrive_under_their_key_with_cloudevents_headers_and_a_tombstone_last(
    running: Start, kafka_settings: KafkaSettings
) -> None:
    async with running(kafka_settings) as api, client_of(api) as client:
        config = await created(client, enabled=False)
        await client.put(f"/configs/{config['id']}", json={"interval_minutes": 20})
        triggered = (await client.post(f"/configs/{config['id']}/trigger")).json()
        await client.delete(f"/configs/{config['id']}")
        await emptied(api)
        async with recording(kafka_settings, CONFIG_CHANGES, TICKS) as recorder:
            tick = await recorder.await_event(TickDue)
            await eventually(lambda: len(recorder.records) == 5)
    assert str(tick.run_id) == triggered["run_id"]
    changes = [record for record in recorder.records if record.topic is CONFIG_CHANGES]
    assert {record.key for record in changes} == {str(config["id"])}
    first, second, removed, tombstone = (record.event for record in changes)
    assert isinstance(first, ConfigChanged)
    assert isinstance(second, ConfigChanged)
    assert isinstance(removed, ConfigRemoved)
    assert [first.config.version, second.config.version, removed.version, tombstone] == [1, 2, 3, None]
    headers = changes[0].headers
    assert (headers["ce_type"], headers["ce_source"]) == ("ConfigChanged", "/candlekeep/admin-api")
    assert headers["ce_id"] == str(first.event_id)


async def test_a_change_leaves_at_once_also_when_another_instance_made_it(
    running: Start, api: AdminApi, kafka_settings: KafkaSettings
) -> None:
    async with running(kafka_settings) as sender, client_of(api) as elsewhere:
        config = await created(elsewhere)
        await emptied(sender)
        began = time.monotonic()
        for minutes in range(11, 16):
            await elsewhere.put(f"/configs/{config['id']}", json={"interval_minutes": minutes})
            await emptied(sender)
        assert time.monotonic() - began < 2.5, "polling alone, once a second, would take five seconds"


async def test_changes_made_before_kafka_answers_go_out_when_it_does(
    running: Start, frail: tuple[KafkaSettings, Command]
) -> None:
    settings, command = frail
    await command("down 1")
    async with running(settings) as api, client_of(api) as client:
        config = await created(client)
        for interval in (20, 30, 40):
            assert (
                await client.put(f"/configs/{config['id']}", json={"interval_minutes": interval})
            ).status_code == 200
        ready = await client.get("http://api/health/ready")
        assert ready.status_code == 200
        assert await backlog(api) == 4
        await command("up 1")
        await emptied(api)
        async with recording(settings, CONFIG_CHANGES) as recorder:
            await recorder.await_events(ConfigChanged, 4)
    assert versions(recorder) == [1, 2, 3, 4]


async def test_an_outage_in_between_keeps_the_order_per_config(
    running: Start, frail: tuple[KafkaSettings, Command]
) -> None:
    settings, command = frail
    async with running(settings) as api, client_of(api) as client:
        config = await created(client)
        await emptied(api)
        await command("down 1")
        for interval in range(20, 30):
            await client.put(f"/configs/{config['id']}", json={"interval_minutes": interval})
        assert await backlog(api) == 10
        await command("up 1")
        await emptied(api, within=40)
        async with recording(settings, CONFIG_CHANGES) as recorder:
            await recorder.await_event(ConfigChanged, lambda event: event.config.version == 11)
    assert versions(recorder) == list(range(1, 12))


def active(api: AdminApi) -> bool:
    return api.metrics.relay_active._value.get() == 1


async def test_a_relay_that_falls_silent_while_its_connection_stands_is_relieved_within_ten_seconds(
    running: Start, kafka_settings: KafkaSettings, database_url: str
) -> None:
    server = urlsplit(database_url)
    login = server.netloc.rpartition("@")[0]
    async with proxying(server.hostname or "", server.port or 0) as proxy:
        proxied = server._replace(netloc=f"{login}@127.0.0.1:{proxy.listens_on}").geturl()
        async with running(kafka_settings, database_url=proxied) as silent:
            await eventually(lambda: active(silent))
            async with running(kafka_settings) as other, client_of(other) as client:
                proxy.be("black hole")
                await created(client)
                await eventually(lambda: active(other), within=10)
                await emptied(other, within=2)
                proxy.be("reset")
                proxy.be("pass")
                await eventually(lambda: not active(silent))


async def test_what_another_sent_after_a_relay_had_it_in_hand_is_announced_again_as_it_is_now(
    running: Start, api: AdminApi, kafka_settings: KafkaSettings
) -> None:
    async with client_of(api) as client:
        config = await created(client)
        await client.put(f"/configs/{config['id']}", json={"interval_minutes": 20})
    async with api.engine.begin() as connection:
        await connection.execute(sa.delete(outbox))  # as our successor did
    async with running(kafka_settings) as relieved:
        relieved.relay._in_hand = {1: str(config["id"]), 2: "987654"}  # its first session has not begun
        async with recording(kafka_settings, CONFIG_CHANGES) as recorder:
            await eventually(lambda: len(recorder.records) == 2)
    told = {record.key: record.event for record in recorder.records}
    assert isinstance(told[str(config["id"])], ConfigChanged)
    assert told[str(config["id"])].config.version == 2
    assert told["987654"] is None


async def test_waiting_long_for_kafka_is_not_silence(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("SET idle_session_timeout = 2500")
        await _awake(connection, asyncio.sleep(3.5))
        assert await connection.fetchval("SELECT 1") == 1
    finally:
        await connection.close()


async def test_of_two_relays_one_sends_and_the_other_takes_over(running: Start, kafka_settings: KafkaSettings) -> None:
    async with AsyncExitStack() as first_life:
        first = await first_life.enter_async_context(running(kafka_settings))
        await eventually(lambda: active(first))
        async with running(kafka_settings) as survivor, client_of(survivor) as client:
            config = await created(client, enabled=False)
            await emptied(survivor)
            assert (active(first), active(survivor)) == (True, False)
            await first_life.aclose()
            await client.post(f"/configs/{config['id']}/trigger")
            await emptied(survivor, within=10)
            assert active(survivor)


async def test_a_relay_whose_lock_is_lost_stops_sending_and_comes_back(
    running: Start, kafka_settings: KafkaSettings
) -> None:
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"  # noqa: E501
    async with running(kafka_settings) as one, running(kafka_settings) as two, client_of(one) as client:
        config = await created(client)
        await emptied(one)
        for interval in (20, 30):
            async with two.engine.begin() as connection:
                assert (await connection.exec_driver_sql(kill)).scalar_one() is True
            await client.put(f"/configs/{config['id']}", json={"interval_minutes": interval})
            await emptied(one, within=10)
        async with recording(kafka_settings, CONFIG_CHANGES) as recorder:
            await recorder.await_event(ConfigChanged, lambda event: event.config.version == 3)
    assert versions(recorder) == [1, 2, 3]


async def test_a_change_that_commits_after_later_ones_is_not_lost(
    running: Start, kafka_settings: KafkaSettings
) -> None:
    row = {"topic": "ticks", "key": "late", "value": None, "headers": {}}
    async with running(kafka_settings) as api, client_of(api) as client:
        async with api.engine.begin() as slow:
            await slow.execute(sa.insert(outbox).values(row))
            await created(client)
            await eventually(lambda: api.metrics.relay_sent.labels("config-changes")._value.get() == 1)
        await emptied(api, within=5)
        assert api.metrics.relay_sent.labels("ticks")._value.get() == 1


async def test_an_announcement_of_a_newer_release_waits_and_nothing_breaks(
    running: Start, frail: tuple[KafkaSettings, Command]
) -> None:
    settings, _ = frail
    row = {"topic": "topic-of-tomorrow", "key": "1", "value": b"{}", "headers": {}}
    async with running(settings) as api, client_of(api) as client:
        async with api.engine.begin() as connection:
            await connection.execute(sa.insert(outbox).values(row))
        await created(client)
        await eventually(lambda: api.metrics.relay_failures._value.get() >= 2)
        assert await backlog(api) == 2
        async with api.engine.begin() as connection:
            await connection.execute(sa.delete(outbox).where(outbox.c.topic == "topic-of-tomorrow"))
        await emptied(api)


async def test_more_than_a_batch_goes_out_in_order(
    running: Start, api: AdminApi, frail: tuple[KafkaSettings, Command]
) -> None:
    settings, _ = frail
    config = CollectionConfig(
        config_id=7,
        version=1,
        exchange="binance",
        symbol="BTC/USDT",
        timeframes=("1m",),
        interval_minutes=10,
        enabled=True,
        updated_at=datetime.now(UTC),
    )
    changes = [
        ConfigChanged(occurred_at=datetime.now(UTC), config=config.model_copy(update={"version": version}))
        for version in range(1, 1202)
    ]
    async with api.engine.begin() as connection:
        await append(connection, [announcement(CONFIG_CHANGES, change) for change in changes])
    async with running(settings) as sender:
        await emptied(sender)
    async with recording(settings, CONFIG_CHANGES) as recorder:
        await recorder.await_events(ConfigChanged, 1201)
    assert [event.config.version for event in recorder.events(ConfigChanged)] == list(range(1, 1202))


async def test_resync_announces_every_config_as_it_is_now(
    running: Start, api: AdminApi, kafka_settings: KafkaSettings
) -> None:
    async with client_of(api) as client:
        configs = [await created(client, symbol=f"C{number}/USDT") for number in range(7)]
        await client.put(f"/configs/{configs[0]['id']}", json={"enabled": False})
        await client.delete(f"/configs/{configs[1]['id']}")
    async with api.engine.begin() as connection:
        await connection.execute(sa.delete(outbox))
    assert await resync(api.engine, datetime.now(UTC), batch=2) == 6
    async with running(kafka_settings), recording(kafka_settings, CONFIG_CHANGES) as recorder:
        announced = await recorder.await_events(ConfigChanged, 6)
    by_id = {event.config.config_id: event.config for event in announced}
    assert by_id.keys() == {config["id"] for config in configs} - {configs[1]["id"]}
    assert (by_id[configs[0]["id"]].version, by_id[configs[0]["id"]].enabled) == (2, False)
