"""The relay publishes the outbox without loss, in order per key."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from asyncpg.prepared_stmt import PreparedStatement

from admin_api.app import AdminApi
from admin_api.configs.service import resync
from admin_api.writes.outbox import announcement, append
from contracts.configs import CollectionConfig, ConfigChanged, ConfigRemoved
from contracts.ticks import TickDue
from contracts.topics import CONFIG_CHANGES, TICKS
from runtime.settings import KafkaSettings
from store.tables import outbox
from support.api import client_of, created
from support.kafka import recording
from support.polling import eventually
from support.relaying import Command, StartRelay, backlog, until_outbox_is_empty

pytestmark = [pytest.mark.postgres, pytest.mark.kafka]


async def test_the_relay_publishes_with_a_new_session_after_an_internal_error_of_the_driver(
    running: StartRelay, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
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


async def test_changes_arrive_with_their_key_and_cloudevents_headers_and_end_with_a_tombstone(
    running: StartRelay, kafka_settings: KafkaSettings
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
    running: StartRelay, api: AdminApi, kafka_settings: KafkaSettings
) -> None:
    async with running(kafka_settings) as relay, client_of(api) as other_instance:
        config = await created(other_instance)
        await until_outbox_is_empty(relay)
        started_at = time.monotonic()
        for minutes in range(11, 16):
            await other_instance.put(f"/configs/{config['id']}", json={"interval_minutes": minutes})
            await until_outbox_is_empty(relay)
        assert time.monotonic() - started_at < 2.5, "polling alone, once a second, would take five seconds"


async def test_a_change_that_commits_after_later_ones_is_not_lost(
    running: StartRelay, kafka_settings: KafkaSettings
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
    running: StartRelay, stoppable_kafka: tuple[KafkaSettings, Command]
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
    running: StartRelay, api: AdminApi, stoppable_kafka: tuple[KafkaSettings, Command]
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
    running: StartRelay, api: AdminApi, kafka_settings: KafkaSettings
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
