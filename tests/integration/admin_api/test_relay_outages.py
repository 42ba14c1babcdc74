"""The relay publishes all changes in order after an outage of Kafka, and keeps its session meanwhile."""

import asyncio

import asyncpg
import pytest

from admin_api.relay.relay import _run_with_session_pings
from contracts.configs import ConfigChanged
from contracts.topics import CONFIG_CHANGES
from runtime.settings import KafkaSettings
from support.api import client_of, created
from support.kafka import recording
from support.relaying import Command, StartRelay, backlog, until_outbox_is_empty, versions

pytestmark = [pytest.mark.postgres, pytest.mark.kafka]


async def test_changes_made_while_kafka_is_down_are_published_when_it_answers(
    running: StartRelay, stoppable_kafka: tuple[KafkaSettings, Command]
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
    running: StartRelay, stoppable_kafka: tuple[KafkaSettings, Command]
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


async def test_postgres_keeps_the_session_during_a_long_wait_for_kafka(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("SET idle_session_timeout = 2500")
        await _run_with_session_pings(connection, asyncio.sleep(3.5))
        assert await connection.fetchval("SELECT 1") == 1
    finally:
        await connection.close()
