"""Two admin-apis: one sends what changed. Whatever befalls it, the other does so within ten seconds."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from local_stack.keeper import KeptKafka
from support.faults.instances import add, relaying, standing_still, use_api
from support.faults.proxy import Proxy, proxying
from support.faults.system import Operated, operated
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(400)]
SEED = 20_261_122
FIRST = "admin-api"


@pytest.fixture
async def way(database_url: str) -> AsyncIterator[Proxy]:
    """The first instance's way to Postgres."""
    server = urlsplit(database_url)
    async with proxying(server.hostname or "", server.port or 0) as proxy:
        yield proxy


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, way: Proxy, tmp_path: Path) -> AsyncIterator[Operated]:
    server = urlsplit(database_url)
    login = server.netloc.rpartition("@")[0]
    proxied = server._replace(netloc=f"{login}@127.0.0.1:{way.listens_on}").geturl()
    own = {FIRST: {"DATABASE_URL": proxied}, f"{FIRST}-2": {"DATABASE_URL": database_url}}
    options = system_options(kafka, database_url, tmp_path)
    options = replace(options, overrides={**options.overrides, **own})
    async with operated(options, seed=SEED) as running:
        await running.create(10)
        yield running


@asynccontextmanager
async def broken(system: Operated, how: str, way: Proxy) -> AsyncIterator[None]:
    match how:
        case "killed":
            await system.kill(FIRST)
            yield
            await system.revive(FIRST)
        case "standing still":
            async with standing_still(system, FIRST):
                yield
        case _:
            way.be("black hole")  # nothing says goodbye: Postgres keeps a connection that nobody is at the end of
            yield
            way.be("reset")
            way.be("pass")


@pytest.mark.parametrize("how", ["killed", "standing still", "vanished"])
async def test_the_other_instance_sends_within_ten_seconds(system: Operated, way: Proxy, how: str) -> None:
    second = await add(system, FIRST)
    assert await relaying(system) == FIRST

    async def other_sends() -> bool:
        return await relaying(system, but=FIRST) == second

    async with AsyncExitStack() as breaking:
        await breaking.enter_async_context(broken(system, how, way))
        use_api(system, second)
        await system.update(system.config_ids[0], interval_minutes=2)
        await system.trigger(system.config_ids[1])
        await eventually(other_sends, within=10, every=0.2)
        await eventually(lambda: nothing_waits(system), within=5, every=0.2)
        await system.update(system.config_ids[2], interval_minutes=2)
    await system.judge()
    assert await relaying(system) == second


async def nothing_waits(system: Operated) -> bool:
    connection = await asyncpg.connect(system.database_url)
    try:
        waiting = await connection.fetchval("SELECT count(*) FROM outbox")
    finally:
        await connection.close()
    assert waiting == 0
    return True
