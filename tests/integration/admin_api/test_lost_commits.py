"""Responses when Postgres fails at COMMIT or rolls back because of a deadlock."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from admin_api.app import AdminApi
from admin_api.writes.transactions import transaction
from support.api import a_config, client_of, created
from support.locks import WAITING_LOCKS
from support.polling import eventually

pytestmark = pytest.mark.postgres

KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
_DIE = "SELECT pg_terminate_backend(pg_backend_pid())"


@contextmanager
def the_next_commit(api: AdminApi, *statements: str) -> Iterator[None]:
    """Run these statements instead of the next COMMIT of any connection."""
    left = [statements]

    def at_commit(connection: sa.Connection) -> None:
        if left:
            for statement in left.pop():
                connection.exec_driver_sql(statement)

    engines = (api.engine.sync_engine, api.reserved_engine.sync_engine)
    for engine in engines:
        sa.event.listen(engine, "commit", at_commit)
    try:
        yield
    finally:
        for engine in engines:
            sa.event.remove(engine, "commit", at_commit)
    assert not left, "nothing was committed"


def kind(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:candlekeep:problem:")


@pytest.mark.parametrize("stored", [True, False])
async def test_an_unconfirmed_commit_is_outcome_unknown_and_a_repetition_with_the_key_is_done_once(
    api: AdminApi, client: httpx.AsyncClient, *, stored: bool
) -> None:
    with the_next_commit(api, *(["COMMIT"] if stored else []), _DIE):
        lost = await client.post("/configs", json=a_config(), headers=KEY)
    assert kind(lost) == (503, "outcome-unknown")
    assert "may or may not be stored" in lost.json()["detail"]
    assert "nothing was changed" not in lost.text.lower()
    assert int(lost.headers["Retry-After"]) > 0
    assert len((await client.get("/configs")).json()) == stored
    again = await client.post("/configs", json=a_config(), headers=KEY)
    assert again.status_code == 201
    assert again.headers.get("Idempotent-Replayed") == ("true" if stored else None)
    assert len((await client.get("/configs")).json()) == 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/configs/{}", {"enabled": False}),
        ("POST", "/configs/{}/trigger", None),
        ("POST", "/configs/bulk/disable", {"select": {"symbol": "*"}}),
        ("POST", "/configs/apply", {"configs": []}),
        ("POST", "/tokens", {"name": "a", "role": "viewer"}),
        ("POST", "/sessions", None),
    ],
)
async def test_every_change_reports_an_unconfirmed_commit_as_outcome_unknown(
    api: AdminApi, client: httpx.AsyncClient, method: str, path: str, body: Any
) -> None:
    config = await created(client)
    with the_next_commit(api, "COMMIT", _DIE):
        answer = await client.request(method, path.format(config["id"]), json=body)
    assert kind(answer) == (503, "outcome-unknown")


async def test_read_requests_do_not_commit(api: AdminApi, client: httpx.AsyncClient) -> None:
    await created(client)
    commits: list[object] = []
    sa.event.listen(api.engine.sync_engine, "commit", commits.append)
    for path in ("/configs", "/configs/1", "/execution-logs", "/stats", "/status", "/series", "/tokens", "/audit-log"):
        await client.get(path)
    assert commits == []


async def test_the_victim_of_a_deadlock_is_repeated(api: AdminApi, client: httpx.AsyncClient) -> None:
    first, second = await created(client), await created(client, symbol="ETH/USDT")
    lock = "SELECT FROM data_collection_configs WHERE id = {} FOR UPDATE"
    both = {"select": {"ids": [first["id"], second["id"]]}}
    async with api.engine.connect() as other, api.engine.connect() as observer:
        # The transaction with the shorter timeout is the victim. Postgres checks only once, so the other one must
        # already wait at that time.
        await other.exec_driver_sql("SET LOCAL deadlock_timeout = '10s'")
        sa.event.listen(
            api.engine.sync_engine, "begin", lambda begun: begun.exec_driver_sql("SET LOCAL deadlock_timeout = '2s'")
        )
        await other.exec_driver_sql(lock.format(second["id"]))
        request = asyncio.create_task(client.post("/configs/bulk/disable", json=both))

        async def waits() -> bool:
            return bool(await observer.scalar(sa.text(WAITING_LOCKS)))

        await eventually(waits, within=10)
        await other.exec_driver_sql(lock.format(first["id"]))
        await other.rollback()
        answer = await request
    assert answer.status_code == 200, answer.text
    assert answer.json()["summary"]["done"] == 2


async def test_a_second_conflict_is_reported_as_a_write_conflict(api: AdminApi) -> None:
    rolled_back = "DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$"
    times: list[object] = []

    def at_begin(connection: sa.Connection) -> None:
        times.append(connection)
        connection.exec_driver_sql(rolled_back)

    async with client_of(api) as client:
        await created(client)
        sa.event.listen(api.engine.sync_engine, "begin", at_begin)
        answer = await client.put("/configs/1", json={"enabled": False})
    assert kind(answer) == (503, "write-conflict")
    assert "not available" not in answer.text
    assert len(times) == 2


async def test_a_constraint_that_fails_at_commit_is_not_outcome_unknown(api: AdminApi) -> None:
    async def violate() -> None:
        async with transaction(api.engine) as connection:
            await connection.exec_driver_sql(
                "CREATE TEMP TABLE later (id int UNIQUE DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP"
            )
            await connection.exec_driver_sql("INSERT INTO later VALUES (1), (1)")

    with pytest.raises(DBAPIError, match="duplicate key"):
        await violate()
