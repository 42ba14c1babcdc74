"""The relay publishes the outbox without loss and in order per key, one instance at a time, also during outages."""

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
from asyncpg.prepared_stmt import PreparedStatement

from admin_api.app import AdminApi, build_api
from admin_api.configs.service import resync
from admin_api.relay.relay import _run_with_session_pings
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

FLUSH = b"H\x00\x00\x00\x04"
"""The end of a request that prepares a statement. Its execution is the next request."""
Start = Callable[..., AbstractAsyncContextManager[AdminApi]]
Command = Callable[[str], Awaitable[None]]


@pytest.fixture
def running(a_setting: Any) -> Start:
    """Starts an instance whose relay runs on the given Kafka."""

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
            await api.close()

    return start


@pytest.fixture
async def stoppable_kafka(tmp_path: Path) -> AsyncIterator[tuple[KafkaSettings, Command]]:
    """A Kafka for one test. The commands `down 1` and `up 1` stop and restart its broker."""
    kafka = await MemoryKafka.start(logs=tmp_path, run=tmp_path, reason="a test stops it")

    async def command(line: str) -> None:
        await command_memory_kafka(kafka.control, [line])

    settings = KafkaSettings(kafka_bootstrap_servers=kafka.bootstrap, kafka_fetch_max_wait_ms=20)
    yield settings, command
    await kafka.stop()


async def test_the_relay_publishes_with_a_new_session_after_an_internal_error_of_the_driver(
    running: Start, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(kafka_settings) as api:
        await eventually(lambda: api.registry.get_sample_value("candlekeep_relay_active") == 1, within=30)
        monkeypatch.setattr(PreparedStatement, "fetch", failing_once(PreparedStatement.fetch))
        async with client_of(api) as client:
            await created(client)
        await until_outbox_is_empty(api, within=30)
    assert api.registry.get_sample_value("candlekeep_relay_failures_total") == 1


def failing_once(fetch: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The driver's own error when it receives a message that it does not expect."""
    errors = iter([asyncpg.InternalClientError("got result for unknown protocol state 3")])

    async def failing(statement: PreparedStatement, *arguments: Any, **options: Any) -> Any:
        if "FROM outbox ORDER BY id" in statement.get_query():  # other connections use prepared statements, too
            for error in errors:
                raise error
        return await fetch(statement, *arguments, **options)

    return failing


async def backlog(api: AdminApi) -> int:
    async with api.engine.connect() as connection:
        return await connection.scalar(sa.select(sa.func.count()).select_from(outbox)) or 0


async def until_outbox_is_empty(api: AdminApi, within: float = 20) -> None:
    async def is_empty() -> bool:
        return await backlog(api) == 0

    await eventually(is_empty, within=within)


def versions(recorder: Recorder) -> list[int]:
    """The versions of all ConfigChanged events in order of arrival, without repetitions."""
    received = [event.config.version for event in recorder.events(ConfigChanged)]
    return list(dict.fromkeys(received))


async def test_changes_arrive_with_their_key_and_cloudevents_headers_and_end_with_a_tombstone(
    running: Start, kafka_settings: KafkaSettings
) -> None:
    async with running(kafka_settings) as api, client_of(api) as client:
        config = await created(client, enabled=False)
        await client.put(f"/configs/{config['id']}", json={"interval_minutes": 20})
        triggered = (await client.post(f"/configs/{config['id']}/trigger")).json()
        await client.delete(f"/configs/{config['id']}")
        await until_outbox_is_empty(api)
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


async def test_a_change_is_published_at_once_even_if_another_instance_made_it(
    running: Start, api: AdminApi, kafka_settings: KafkaSettings
) -> None:
    async with running(kafka_settings) as relay, client_of(api) as other_instance:
        config = await created(other_instance)
        await until_outbox_is_empty(relay)
        started_at = time.monotonic()
        for minutes in range(11, 16):
            await other_instance.put(f"/configs/{config['id']}", json={"interval_minutes": minutes})
            await until_outbox_is_empty(relay)
        assert time.monotonic() - started_at < 2.5, "polling alone, once a second, would take five seconds"


async def test_changes_made_while_kafka_is_down_are_published_when_it_answers(
    running: Start, stoppable_kafka: tuple[KafkaSettings, Command]
) -> None:
    settings, command = stoppable_kafka
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
        await until_outbox_is_empty(api)
        async with recording(settings, CONFIG_CHANGES) as recorder:
            await recorder.await_events(ConfigChanged, 4)
    assert versions(recorder) == [1, 2, 3, 4]


async def test_the_order_per_config_is_kept_over_an_outage_of_kafka(
    running: Start, stoppable_kafka: tuple[KafkaSettings, Command]
) -> None:
    settings, command = stoppable_kafka
    async with running(settings) as api, client_of(api) as client:
        config = await created(client)
        await until_outbox_is_empty(api)
        await command("down 1")
        for interval in range(20, 30):
            await client.put(f"/configs/{config['id']}", json={"interval_minutes": interval})
        assert await backlog(api) == 10
        await command("up 1")
        await until_outbox_is_empty(api, within=40)
        async with recording(settings, CONFIG_CHANGES) as recorder:
            await recorder.await_event(ConfigChanged, lambda event: event.config.version == 11)
    assert versions(recorder) == list(range(1, 12))


def active(api: AdminApi) -> bool:
    return api.metrics.relay_active._value.get() == 1


async def test_a_relay_that_sends_nothing_over_an_open_connection_is_replaced_within_ten_seconds(
    running: Start, kafka_settings: KafkaSettings, database_url: str
) -> None:
    server = urlsplit(database_url)
    login = server.netloc.rpartition("@")[0]
    async with proxying(server.hostname or "", server.port or 0) as proxy:
        proxied = server._replace(netloc=f"{login}@127.0.0.1:{proxy.listens_on}").geturl()
        async with running(kafka_settings, database_url=proxied) as stalled:
            await eventually(lambda: active(stalled))
            async with running(kafka_settings) as other, client_of(other) as client:
                proxy.set_mode("black hole")
                await created(client)
                await eventually(lambda: active(other), within=10)
                await until_outbox_is_empty(other, within=2)
                proxy.set_mode("reset")
                proxy.set_mode("pass")
                await eventually(lambda: not active(stalled))


async def test_no_request_of_the_active_relay_leaves_a_statement_unfinished(
    running: Start, api: AdminApi, kafka_settings: KafkaSettings, database_url: str
) -> None:
    """Postgres ends no session in the middle of the preparation of a statement, so a relay that stalls there keeps the
    lock.
    """
    server = urlsplit(database_url)
    login = server.netloc.rpartition("@")[0]
    async with proxying(server.hostname or "", server.port or 0) as proxy:
        proxied = server._replace(netloc=f"{login}@127.0.0.1:{proxy.listens_on}").geturl()
        async with running(kafka_settings, database_url=proxied) as relaying, client_of(api) as client:
            await eventually(lambda: active(relaying))
            before = list(proxy.requests)
            proxy.requests.clear()
            await created(client)
            await until_outbox_is_empty(api)
            assert [request for request in before if request.endswith(FLUSH)]  # statements are prepared
            assert proxy.requests
            assert not [request for request in proxy.requests if request.endswith(FLUSH)]


async def test_rows_in_flight_that_another_instance_published_are_republished_in_their_current_state(
    running: Start, api: AdminApi, kafka_settings: KafkaSettings
) -> None:
    async with client_of(api) as client:
        config = await created(client)
        await client.put(f"/configs/{config['id']}", json={"interval_minutes": 20})
    async with api.engine.begin() as connection:
        await connection.execute(sa.delete(outbox))  # as the next active instance does
    async with running(kafka_settings) as replaced:
        replaced.relay._in_flight = {1: str(config["id"]), 2: "987654"}  # before its first session
        async with recording(kafka_settings, CONFIG_CHANGES) as recorder:
            await eventually(lambda: len(recorder.records) == 2)
    published = {record.key: record.event for record in recorder.records}
    assert isinstance(published[str(config["id"])], ConfigChanged)
    assert published[str(config["id"])].config.version == 2
    assert published["987654"] is None


async def test_postgres_keeps_the_session_during_a_long_wait_for_kafka(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("SET idle_session_timeout = 2500")
        await _run_with_session_pings(connection, asyncio.sleep(3.5))
        assert await connection.fetchval("SELECT 1") == 1
    finally:
        await connection.close()


async def test_one_of_two_relays_is_active_and_the_other_takes_over(
    running: Start, kafka_settings: KafkaSettings
) -> None:
    async with AsyncExitStack() as first_instance:
        first = await first_instance.enter_async_context(running(kafka_settings))
        await eventually(lambda: active(first))
        async with running(kafka_settings) as survivor, client_of(survivor) as client:
            config = await created(client, enabled=False)
            await until_outbox_is_empty(survivor)
            assert (active(first), active(survivor)) == (True, False)
            await first_instance.aclose()
            await client.post(f"/configs/{config['id']}/trigger")
            await until_outbox_is_empty(survivor, within=10)
            assert active(survivor)


async def test_a_relay_that_loses_its_lock_stops_and_publishes_again_later(
    running: Start, kafka_settings: KafkaSettings
) -> None:
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"  # noqa: E501
    async with running(kafka_settings) as one, running(kafka_settings) as two, client_of(one) as client:
        config = await created(client)
        await until_outbox_is_empty(one)
        for interval in (20, 30):
            async with two.engine.begin() as connection:
                assert (await connection.exec_driver_sql(kill)).scalar_one() is True
            await client.put(f"/configs/{config['id']}", json={"interval_minutes": interval})
            await until_outbox_is_empty(one, within=10)
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
        await until_outbox_is_empty(api, within=5)
        assert api.metrics.relay_sent.labels("ticks")._value.get() == 1


async def test_a_row_of_a_newer_release_waits_in_the_outbox(
    running: Start, stoppable_kafka: tuple[KafkaSettings, Command]
) -> None:
    settings, _ = stoppable_kafka
    row = {"topic": "topic-of-tomorrow", "key": "1", "value": b"{}", "headers": {}}
    async with running(settings) as api, client_of(api) as client:
        async with api.engine.begin() as connection:
            await connection.execute(sa.insert(outbox).values(row))
        await created(client)
        await eventually(lambda: api.metrics.relay_failures._value.get() >= 2)
        assert await backlog(api) == 2
        async with api.engine.begin() as connection:
            await connection.execute(sa.delete(outbox).where(outbox.c.topic == "topic-of-tomorrow"))
        await until_outbox_is_empty(api)


async def test_more_rows_than_a_batch_are_published_in_order(
    running: Start, api: AdminApi, stoppable_kafka: tuple[KafkaSettings, Command]
) -> None:
    settings, _ = stoppable_kafka
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
    async with running(settings) as relay:
        await until_outbox_is_empty(relay)
    async with recording(settings, CONFIG_CHANGES) as recorder:
        await recorder.await_events(ConfigChanged, 1201)
    assert [event.config.version for event in recorder.events(ConfigChanged)] == list(range(1, 1202))


async def test_resync_publishes_the_current_state_of_every_config(
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
        published = await recorder.await_events(ConfigChanged, 6)
    by_id = {event.config.config_id: event.config for event in published}
    assert by_id.keys() == {config["id"] for config in configs} - {configs[1]["id"]}
    assert (by_id[configs[0]["id"]].version, by_id[configs[0]["id"]].enabled) == (2, False)
    assert all(event.resynced for event in published)
