"""Connections of tests to Postgres."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg


@asynccontextmanager
async def connected(database_url: str, **settings: str) -> AsyncIterator[asyncpg.Connection]:
    """`settings`: settings of the server for this connection, such as `lock_timeout`."""
    connection = await asyncpg.connect(database_url, server_settings=settings)
    try:
        yield connection
    finally:
        await connection.close()
