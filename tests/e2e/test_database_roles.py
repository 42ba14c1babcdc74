"""Each service of the running system connects to the database with its own role. The other tests show that it works."""

import asyncpg
import httpx
import pytest

from local_stack.stack import Stack
from store.roles import role_name
from support.polling import eventually

pytestmark = [pytest.mark.system, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.asyncio(loop_scope="session")]


async def test_each_service_connects_with_its_own_role(system: Stack, api: httpx.AsyncClient) -> None:
    (await api.get("/configs")).raise_for_status()
    logins = system.options.database_logins
    assert logins is not None
    expected = {
        name: role_name(logins.prefix, name) for name in ("admin-api", "log-writer", "candle-writer", "backfiller")
    }
    for other_connections in ("admin-api-relay", "admin-api-login"):
        expected[other_connections] = expected["admin-api"]
    database = await asyncpg.connect(system.database_url)

    async def every_role_is_used() -> bool:
        rows = await database.fetch(
            "SELECT DISTINCT application_name, usename FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        found = {(row["application_name"], row["usename"]) for row in rows}
        assert {pair for pair in found if pair[0]} == set(expected.items())
        return True

    try:
        await eventually(every_role_is_used, within=30)
    finally:
        await database.close()
