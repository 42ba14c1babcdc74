"""Every call to a Postgres that accepts data but never responds ends by a timeout."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.app import build_api
from admin_api.relay.relay import Relay
from admin_api.settings import AdminApiSettings
from runtime.database import build_engine, driver_transaction
from runtime.settings import DatabaseSettings
from store.migrate import upgrade
from support.api import TOKEN
from support.faults.ending import ends
from support.faults.proxy import Proxy, proxying

pytestmark = pytest.mark.postgres

OUTAGE_ERRORS = (OSError, sa.exc.SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError)
STATEMENT_SECONDS = 2.0
CONNECT_SECONDS = 10.0
CLOSE_SECONDS = 2.0
"""How long SQLAlchemy waits before it drops a connection that failed."""


@asynccontextmanager
async def behind_a_proxy(database_url: str) -> AsyncIterator[tuple[str, Proxy]]:
    server = urlsplit(database_url)
    async with proxying(str(server.hostname), server.port or 5432) as proxy:
        login = server.netloc.rpartition("@")[0]
        yield server._replace(netloc=f"{login}@127.0.0.1:{proxy.listens_on}").geturl(), proxy


def an_engine(url: str, size: int = 1) -> AsyncEngine:
    return build_engine(
        DatabaseSettings(
            database_url=SecretStr(url),
            database_pool_size=size,
            database_command_timeout_seconds=STATEMENT_SECONDS,
        )
    )


async def a_statement(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(sa.text("SELECT 1"))


async def a_copy(engine: AsyncEngine, reached: asyncio.Event, proceed: asyncio.Event) -> None:
    async with driver_transaction(engine) as driver:
        await driver.execute("CREATE TEMP TABLE t (n int)")
        reached.set()
        await proceed.wait()
        await driver.copy_records_to_table("t", records=[(number,) for number in range(1000)])


async def an_open_transaction(engine: AsyncEngine, reached: asyncio.Event, proceed: asyncio.Event) -> None:
    async with engine.begin() as connection:
        await connection.execute(sa.text("SELECT 1"))
        reached.set()
        await proceed.wait()
        await connection.execute(sa.text("SELECT 2"))


async def listening(relay: Relay, reached: asyncio.Event, proceed: asyncio.Event) -> None:
    async with relay._connection() as connection:
        reached.set()
        await proceed.wait()
        await connection.add_listener("channel", lambda *_: None)


async def test_no_call_to_postgres_exceeds_its_timeout_in_a_black_hole(database_url: str) -> None:
    async with behind_a_proxy(database_url) as (url, proxy):
        engines = [an_engine(url) for _ in range(4)]
        idle, copying, working, fresh = engines
        settings = AdminApiSettings(
            database_url=SecretStr(url),
            database_command_timeout_seconds=STATEMENT_SECONDS,
            kafka_bootstrap_servers="127.0.0.1:1",
            candlekeep_admin_token=SecretStr(TOKEN),
        )
        api = build_api(settings)
        relay = api.relay
        await a_statement(idle)
        proceed = asyncio.Event()
        reached = [asyncio.Event() for _ in range(3)]
        tasks = [
            asyncio.create_task(a_copy(copying, reached[0], proceed)),
            asyncio.create_task(an_open_transaction(working, reached[1], proceed)),
            asyncio.create_task(listening(relay, reached[2], proceed)),
        ]
        await asyncio.gather(*(each.wait() for each in reached))

        proxy.set_mode("black hole")
        proceed.set()
        limit = STATEMENT_SECONDS + CLOSE_SECONDS
        await asyncio.gather(
            ends("a connection that was idle", a_statement(idle), within=limit + CONNECT_SECONDS, raises=OUTAGE_ERRORS),
            ends("a copy", tasks[0], within=limit, raises=OUTAGE_ERRORS),
            ends("a statement", tasks[1], within=limit, raises=OUTAGE_ERRORS),
            ends("listening", tasks[2], within=limit, raises=OUTAGE_ERRORS),
            ends("a new connection", a_statement(fresh), within=CONNECT_SECONDS, raises=OUTAGE_ERRORS),
            ends("a migration", upgrade(url), within=CONNECT_SECONDS, raises=OUTAGE_ERRORS),
            ends("the relay's connection", open_and_close(relay), within=CONNECT_SECONDS, raises=OUTAGE_ERRORS),
        )
        for engine in (*engines, api.engine):
            await ends("closing an engine", engine.dispose(), within=CLOSE_SECONDS)


async def test_a_wait_for_an_exhausted_pool_ends_at_its_timeout(database_url: str) -> None:
    engine = an_engine(database_url)
    async with engine.connect():
        await ends("a place in the pool", a_statement(engine), within=CONNECT_SECONDS, raises=OUTAGE_ERRORS)
    await engine.dispose()


async def open_and_close(relay: Relay) -> None:
    async with relay._connection():
        return


async def test_a_stalled_transaction_does_not_keep_its_locks(database_url: str) -> None:
    stalled, other = an_engine(database_url), an_engine(database_url)
    lock = sa.text("SELECT pg_advisory_xact_lock(1)")
    try:
        async with stalled.connect() as connection:
            await connection.execute(lock)  # then the client sends nothing more
            async with asyncio.timeout(STATEMENT_SECONDS + 3), other.connect() as waiting:
                while not (await waiting.execute(sa.text("SELECT pg_try_advisory_xact_lock(1)"))).scalar_one():
                    await waiting.rollback()
                    await asyncio.sleep(0.1)
            await connection.invalidate()
    finally:
        await stalled.dispose()
        await other.dispose()
