"""Lock waits in Postgres."""

import asyncpg


async def is_awaited(connection: asyncpg.Connection, table: str) -> bool:
    """Whether a session waits for a lock on this table."""
    query = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = to_regclass($1)"
    return bool(await connection.fetchval(query, table))
