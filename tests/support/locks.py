"""Lock waits in Postgres, of the sessions of one database.

All tests of a run share a server, and a table has the same id in each database that was made from the template.
"""

from typing import Final

import asyncpg

WAITING_LOCKS: Final = (
    "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN ("
    " SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database WHERE datname = current_database())"
)
"""The number of lock waits. Conditions can be added. It does not read `pg_stat_activity`, because a transaction sees
only the state at its first read of that view.
"""


async def is_awaited(connection: asyncpg.Connection, table: str) -> bool:
    """Whether a session waits for a lock on this table."""
    return bool(await connection.fetchval(f"{WAITING_LOCKS} AND relation = to_regclass($1)", table))
