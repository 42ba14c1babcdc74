"""One relay of several is active. Another one takes over from a relay that stops, stalls or loses its lock."""

from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from contracts.configs import ConfigChanged
from contracts.topics import CONFIG_CHANGES
from runtime.settings import KafkaSettings
from store.tables import outbox
from support.api import client_of, created
from support.faults.proxy import proxying
from support.kafka import recording
from support.polling import eventually
from support.relaying import StartRelay, active, until_outbox_is_empty, versions

pytestmark = [pytest.mark.postgres, pytest.mark.kafka]


FLUSH = b"H\x00\x00\x00\x04"
"""The end of a request that prepares a statement. Its execution is the next request."""


async def test_a_relay_that_sends_nothing_over_an_open_connection_is_replaced_within_ten_seconds(
    running: StartRelay, kafka_settings: KafkaSettings, database_url: str
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
    running: StartRelay, api: AdminApi, kafka_settings: KafkaSettings, database_url: str
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
    running: StartRelay, api: AdminApi, kafka_settings: KafkaSettings
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


async def test_one_of_two_relays_is_active_and_the_other_takes_over(
    running: StartRelay, kafka_settings: KafkaSettings
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
    running: StartRelay, kafka_settings: KafkaSettings
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
