"""Every call to a Postgres that accepts data but never responds ends by a timeout."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.writes.active_instance import driver_of, lockable_session
from runtime.database import build_engine, driver_transaction
from runtime.settings import DatabaseSettings
from store.migrate import upgrade
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


def the_settings(url: str) -> DatabaseSettings:
    return DatabaseSettings(
        database_url=SecretStr(url), database_pool_size=1, database_command_timeout_seconds=STATEMENT_SECONDS
    )


def an_engine(url: str) -> AsyncEngine:
    return build_engine(the_settings(url))


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


async def listening(settings: DatabaseSettings, reached: asyncio.Event, proceed: asyncio.Event) -> None:
    async with lockable_session(settings, "test", idle_seconds=60) as connection:
        driver = await driver_of(connection)
        reached.set()
        await proceed.wait()
        await driver.add_listener("channel", lambda *_: None)


async def test_no_call_to_postgres_exceeds_its_timeout_in_a_black_hole(database_url: str) -> None:
    async with behind_a_proxy(database_url) as (url, proxy):
        engines = [an_engine(url) for _ in range(4)]
        idle, copying, working, fresh = engines
        settings = the_settings(url)
        await a_statement(idle)
        proceed = asyncio.Event()
        tasks = await all_open(
            lambda reached: a_copy(copying, reached, proceed),
            lambda reached: an_open_transaction(working, reached, proceed),
            lambda reached: listening(settings, reached, proceed),
        )

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
            ends(
                "a connection outside the pool", open_and_close(settings), within=CONNECT_SECONDS, raises=OUTAGE_ERRORS
            ),
        )
        for engine in engines:
            await ends("closing an engine", engine.dispose(), within=CLOSE_SECONDS)


async def test_a_wait_for_an_exhausted_pool_ends_at_its_timeout(database_url: str) -> None:
    engine = an_engine(database_url)
    async with engine.connect():
        await ends("a place in the pool", a_statement(engine), within=CONNECT_SECONDS, raises=OUTAGE_ERRORS)
    await engine.dispose()


async def all_open(*calls: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> list[asyncio.Task[None]]:
    """The started calls; each has its own connection. On a busy machine, a call may time out: then all start again."""
    for _ in range(5):
        events = [asyncio.Event() for _ in calls]
        tasks = [asyncio.create_task(call(event)) for call, event in zip(calls, events, strict=True)]
        reached = asyncio.gather(*(event.wait() for event in events))
        await asyncio.wait({reached, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        if not any(task.done() for task in tasks):
            return tasks
        for each in (reached, *tasks):
            each.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    pytest.fail(f"the connections did not open in time: {ended}")


async def open_and_close(settings: DatabaseSettings) -> None:
    async with lockable_session(settings, "test", idle_seconds=60):
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
