"""Of two instances of admin-api one runs the relay. If it fails, the other one takes over within ten seconds."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from local_stack.keeper import KeptKafka
from support.faults.instances import active_relay, add_instance, stalled, use_api_instance
from support.faults.proxy import Proxy, proxying
from support.faults.system import RunningSystem, running_system
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(400)]
SEED = 20_261_122
FIRST = "admin-api"


@pytest.fixture
async def to_postgres(database_url: str) -> AsyncIterator[Proxy]:
    """The proxy between the first instance and Postgres."""
    server = urlsplit(database_url)
    async with proxying(server.hostname or "", server.port or 0) as proxy:
        yield proxy


@pytest.fixture
async def system(
    kafka: KeptKafka, database_url: str, to_postgres: Proxy, tmp_path: Path
) -> AsyncIterator[RunningSystem]:
    options = system_options(kafka, database_url, tmp_path)
    assert options.database_logins is not None
    direct = options.database_logins.url(database_url, FIRST)
    server = urlsplit(direct)
    login = server.netloc.rpartition("@")[0]
    proxied = server._replace(netloc=f"{login}@127.0.0.1:{to_postgres.listens_on}").geturl()
    database_urls = {FIRST: {"DATABASE_URL": proxied}, f"{FIRST}-2": {"DATABASE_URL": direct}}
    options = replace(options, overrides={**options.overrides, **database_urls})
    async with running_system(options, seed=SEED) as running:
        await running.create(10)
        yield running


@asynccontextmanager
async def broken(system: RunningSystem, how: str, to_postgres: Proxy) -> AsyncIterator[None]:
    match how:
        case "killed":
            await system.kill(FIRST)
            yield
            await system.start(FIRST)
        case "stalled":
            async with stalled(system, FIRST):
                yield
        case _:
            # No connection is closed, so Postgres keeps the session of a client that has vanished.
            to_postgres.set_mode("black hole")
            yield
            to_postgres.set_mode("reset")
            to_postgres.set_mode("pass")


@pytest.mark.parametrize("how", ["killed", "stalled", "vanished"])
async def test_the_other_relay_takes_over_within_ten_seconds(
    system: RunningSystem, to_postgres: Proxy, how: str
) -> None:
    second = await add_instance(system, FIRST)
    assert await active_relay(system) == FIRST

    async def other_is_active() -> bool:
        return await active_relay(system, excluding=FIRST) == second

    async with AsyncExitStack() as fault:
        await fault.enter_async_context(broken(system, how, to_postgres))
        use_api_instance(system, second)
        await system.update(system.config_ids[0], interval_minutes=2)
        await system.trigger(system.config_ids[1])
        await eventually(other_is_active, within=10, every=0.2)
        await eventually(lambda: outbox_is_empty(system), within=5, every=0.2)
        await system.update(system.config_ids[2], interval_minutes=2)
    await system.judge()
    assert await active_relay(system) == second


async def outbox_is_empty(system: RunningSystem) -> bool:
    connection = await asyncpg.connect(system.database_url)
    try:
        waiting = await connection.fetchval("SELECT count(*) FROM outbox")
    finally:
        await connection.close()
    assert waiting == 0
    return True
