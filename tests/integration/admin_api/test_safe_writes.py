"""If-Match prevents lost updates. Idempotency-Key makes a repeated request have one effect."""

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from local_stack.ports import free_port
from store.tables import audit_log, idempotency_keys, outbox
from support.api import BASE, TOKEN, a_config, a_token, client_of, created
from support.polling import eventually

pytestmark = pytest.mark.postgres

KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}


async def count(api: AdminApi, table: sa.Table) -> int:
    async with api.engine.connect() as connection:
        return await connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


async def test_every_response_with_a_config_has_its_version_as_a_strong_etag(client: httpx.AsyncClient) -> None:
    made = await client.post("/configs", json=a_config())
    path = f"/configs/{made.json()['id']}"
    assert made.headers["ETag"] == '"1"'
    assert (await client.get(path)).headers["ETag"] == '"1"'
    assert (await client.put(path, json={"interval_minutes": 5})).headers["ETag"] == '"2"'
    assert (await client.post(f"{path}/disable")).headers["ETag"] == '"3"'
    assert (await client.post(f"{path}/enable")).headers["ETag"] == '"4"'


CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("PUT", "", {"json": {"interval_minutes": 7}}),
    ("POST", "/enable", {}),
    ("POST", "/disable", {}),
    ("POST", "/trigger", {}),
    ("DELETE", "", {}),
]


@pytest.mark.parametrize(("method", "verb", "body"), CHANGES, ids=[f"{each[0]}{each[1]}" for each in CHANGES])
async def test_a_change_of_an_old_version_is_412_and_of_the_current_version_is_made(
    api: AdminApi, client: httpx.AsyncClient, method: str, verb: str, body: dict[str, Any]
) -> None:
    config = await created(client)
    path = f"/configs/{config['id']}"
    await client.put(path, json={"interval_minutes": 5})
    announced = await count(api, outbox)
    for stale in ('"1"', 'W/"2"', '"1", "3"'):
        refused = await client.request(method, path + verb, headers={"If-Match": stale}, **body)
        assert refused.status_code == 412
        assert refused.headers["content-type"] == "application/problem+json"
        assert (refused.headers["ETag"], refused.json()["version"]) == ('"2"', 2)
    assert await count(api, outbox) == announced
    unreadable = await client.request(method, path + verb, headers={"If-Match": "2"}, **body)
    assert unreadable.status_code == 422
    assert unreadable.json()["errors"][0]["pointer"] == "#/If-Match"
    several = [("If-Match", '"1"'), ("If-Match", '"2"')]
    assert (await client.request(method, path + verb, headers=several, **body)).status_code < 300


async def test_a_star_matches_any_version_of_an_existing_config(client: httpx.AsyncClient) -> None:
    config = await created(client)
    star = {"If-Match": "*"}
    assert (await client.put(f"/configs/{config['id']}", json={}, headers=star)).status_code == 200
    assert (await client.delete(f"/configs/{config['id']}", headers=star)).status_code == 204
    assert (await client.delete(f"/configs/{config['id']}", headers=star)).status_code == 404


async def test_an_update_without_a_change_keeps_the_etag(client: httpx.AsyncClient) -> None:
    config = await created(client)
    for _ in range(2):
        same = await client.put(f"/configs/{config['id']}", json={"interval_minutes": 10}, headers={"If-Match": '"1"'})
        assert (same.status_code, same.headers["ETag"]) == (200, '"1"')


async def test_a_matching_if_none_match_is_304_without_a_body(client: httpx.AsyncClient) -> None:
    config = await created(client)
    path = f"/configs/{config['id']}"
    for had in ('"1"', 'W/"1"', '"0", "1"', "*"):
        unchanged = await client.get(path, headers={"If-None-Match": had})
        assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", '"1"')
    assert (await client.get(path, headers={"If-None-Match": '"2"'})).json() == config
    assert (await client.get(path, headers={"If-None-Match": "1"})).status_code == 422


async def test_only_one_of_several_changes_of_the_same_version_is_made(client: httpx.AsyncClient) -> None:
    config = await created(client)
    version = 1
    for round_ in range(5):
        wanted = [20 + 10 * round_ + n for n in range(4)]
        answers = await asyncio.gather(
            *(
                client.put(
                    f"/configs/{config['id']}",
                    json={"interval_minutes": minutes},
                    headers={"If-Match": f'"{version}"'},
                )
                for minutes in wanted
            )
        )
        assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
        version += 1
        [won] = [answer for answer in answers if answer.status_code == 200]
        assert (await client.get(f"/configs/{config['id']}")).json() == won.json()
        assert won.json()["version"] == version


async def test_a_repeated_create_gets_the_stored_response_and_is_done_once(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    first = await client.post("/configs", json=a_config(), headers=KEY)
    again = await client.post("/configs", json=a_config(), headers={"idempotency-key": f'"{KEY["Idempotency-Key"]}"'})
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    for name in ("Location", "ETag", "Content-Type", "Content-Length"):
        assert again.headers[name] == first.headers[name]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (await count(api, outbox), await count(api, audit_log)) == (1, 1)


@pytest.mark.parametrize("verb", ["trigger", "enable", "disable"])
async def test_the_other_post_requests_also_get_the_stored_response(
    api: AdminApi, client: httpx.AsyncClient, verb: str
) -> None:
    config = await created(client, enabled=verb == "disable")
    before = await count(api, outbox)
    first = await client.post(f"/configs/{config['id']}/{verb}", headers=KEY)
    await client.put(f"/configs/{config['id']}", json={"description": "later"})
    again = await client.post(f"/configs/{config['id']}/{verb}", headers=KEY)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert await count(api, outbox) == before + 2
    assert (await client.get(f"/configs/{config['id']}")).json()["description"] == "later"


async def test_an_error_response_is_also_stored(client: httpx.AsyncClient) -> None:
    first = await client.post("/configs/4711/trigger", headers=KEY)
    again = await client.post("/configs/4711/trigger", headers=KEY)
    assert (first.status_code, again.status_code) == (404, 404)
    assert again.content == first.content
    assert again.headers["content-type"] == "application/problem+json"
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_an_error_leaves_only_its_stored_response(api: AdminApi, client: httpx.AsyncClient) -> None:
    holder = await created(client)
    refused = await client.post("/configs", json=a_config(timeframes=["5m", "1m"]), headers=KEY)
    assert (refused.status_code, refused.json()["config_id"]) == (409, holder["id"])
    assert (await count(api, outbox), await count(api, audit_log)) == (1, 1)
    assert len((await client.get("/configs")).json()) == 1
    await created(client, timeframes=["5m"])  # the refused request has no claims


async def test_a_key_belongs_to_one_request(api: AdminApi, client: httpx.AsyncClient) -> None:
    config = await created(client, symbol="ADA/USDT")
    await client.post("/configs", json=a_config(), headers=KEY)
    others: list[tuple[str, dict[str, Any]]] = [
        ("/configs", {"json": a_config(interval_minutes=20)}),
        (f"/configs/{config['id']}/trigger", {}),
        (f"/configs/{config['id']}/trigger", {"headers": {"If-Match": "*"}}),
    ]
    before = await count(api, outbox)
    for path, request in others:
        refused = await client.post(path, **{**request, "headers": {**KEY, **request.get("headers", {})}})
        assert refused.status_code == 422
        assert refused.json()["type"].endswith(":idempotency-key-reused")
        assert "POST /api/v1/admin/data-collection/configs at " in refused.json()["detail"]
    assert await count(api, outbox) == before


async def test_callers_do_not_share_keys(api: AdminApi, client: httpx.AsyncClient) -> None:
    token = (await a_token(client, "admin"))["token"]
    await client.post("/configs", json=a_config(), headers=KEY)
    async with client_of(api, token) as other:
        answer = await other.post("/configs", json=a_config(symbol="ETH/USDT"), headers=KEY)
    assert (answer.status_code, "Idempotent-Replayed" in answer.headers) == (201, False)


@pytest.mark.parametrize("key", ["", " ", "a b", '"', '""', '"a', 'a"b', "\xe9", "x" * 256, f'"{"x" * 256}"'])
async def test_a_malformed_key_is_422_with_the_name_of_the_header(
    api: AdminApi, client: httpx.AsyncClient, key: str
) -> None:
    answer = await client.post("/configs", json=a_config(), headers={"Idempotency-Key": key.encode("latin-1")})
    assert answer.status_code == 422
    assert [error["where"] for error in answer.json()["errors"]] == ["header"]
    assert answer.json()["errors"][0]["pointer"].lower() == "#/idempotency-key"
    assert await count(api, outbox) == 0


async def test_a_key_has_at_most_255_characters_and_one_header(client: httpx.AsyncClient) -> None:
    longest = {"Idempotency-Key": f'"{"x" * 255}"'}
    assert (await client.post("/configs", json=a_config(), headers=longest)).status_code == 201
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert (await client.post("/configs", json=a_config(symbol="ETH/USDT"), headers=twice)).status_code == 422


async def test_an_invalid_request_does_not_use_its_key(client: httpx.AsyncClient) -> None:
    assert (await client.post("/configs", json=a_config(interval_minutes=0), headers=KEY)).status_code == 422
    assert (await client.post("/configs", json=a_config(), headers=KEY)).status_code == 201


async def test_a_repetition_during_the_first_request_is_409_and_later_gets_the_response(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    config = await created(client)
    path = f"/configs/{config['id']}/disable"
    async with api.engine.begin() as other:
        await other.exec_driver_sql(f"SELECT 1 FROM data_collection_configs WHERE id = {config['id']} FOR UPDATE")
        first = asyncio.create_task(client.post(path, headers=KEY))

        async def refused() -> httpx.Response | None:
            answer = await client.post(path, headers={**KEY, "If-Match": "*"})  # any request with this key is refused
            return answer if answer.status_code == 409 else None

        # Wait until the first request holds the key. Otherwise the second one could take it and wait for the row.
        async def first_waits() -> bool:
            async with api.engine.connect() as connection:
                locks = (
                    "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
                    "WHERE locktype = 'advisory' AND objsubid = 1 AND datname = current_database()"
                )
                return bool(await connection.scalar(sa.text(locks)))

        await eventually(first_waits, within=10)
        busy = await eventually(refused, within=10)
        assert busy.json()["type"].endswith(":idempotency-key-in-use")
        assert int(busy.headers["Retry-After"]) > 0
        assert not first.done()
    assert (await first).status_code == 200
    again = await client.post(path, headers=KEY)
    assert (again.content, again.headers["Idempotent-Replayed"]) == ((await first).content, "true")


async def test_only_one_of_several_concurrent_requests_with_a_key_is_done(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    config = await created(client, enabled=False)
    path = f"/configs/{config['id']}/trigger"
    answers = await asyncio.gather(*(client.post(path, headers=KEY) for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    done = [answer for answer in answers if answer.status_code == 202]
    assert len({answer.json()["run_id"] for answer in done}) == 1
    assert len([answer for answer in done if "Idempotent-Replayed" not in answer.headers]) == 1
    assert await count(api, outbox) == 2


async def test_a_server_error_is_not_stored(api: AdminApi, client: httpx.AsyncClient) -> None:
    async with api.engine.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE outbox RENAME TO out_of_order")
    assert (await client.post("/configs", json=a_config(), headers=KEY)).status_code == 500
    async with api.engine.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE out_of_order RENAME TO outbox")
    assert await count(api, idempotency_keys) == 0
    answer = await client.post("/configs", json=a_config(), headers=KEY)
    assert (answer.status_code, "Idempotent-Replayed" in answer.headers) == (201, False)


async def test_a_key_expires_after_24_hours_and_new_keys_delete_expired_ones(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    config = await created(client, enabled=False)
    path = f"/configs/{config['id']}/trigger"
    first = await client.post(path, headers=KEY)
    for n in range(3):
        await client.post(path, headers={"Idempotency-Key": f"other-{n}"})
    assert await count(api, idempotency_keys) == 4
    expiry = sa.select(sa.func.min(idempotency_keys.c.expires_at))
    async with api.engine.begin() as connection:
        left = (await connection.scalar(expiry)) - datetime.now(UTC)
        assert timedelta(hours=23, minutes=58) < left <= timedelta(hours=24)
        await connection.execute(sa.update(idempotency_keys).values(expires_at=datetime.now(UTC)))
    renewed = await client.post(path, headers=KEY)
    assert "Idempotent-Replayed" not in renewed.headers
    assert renewed.json()["run_id"] != first.json()["run_id"]
    assert await count(api, idempotency_keys) == 1


async def test_after_a_kill_between_commit_and_response_the_stored_response_is_sent(
    api: AdminApi, client: httpx.AsyncClient, database_url: str
) -> None:
    config = await created(client, enabled=False)
    port, url = free_port(), f"{BASE}/configs/{config['id']}/trigger"
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "HTTP_PORT": str(port),
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "CANDLEKEEP_ADMIN_TOKEN": TOKEN,
        "FAILPOINTS": "admin_api.after_commit=kill",
    }
    silent = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "admin_api"), env=environment, stdout=silent, stderr=silent
    )
    try:
        headers = {"Authorization": f"Bearer {TOKEN}", **KEY}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as caller:

            async def ready() -> bool:
                try:
                    return (await caller.get("/health/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(ready, within=30)
            with pytest.raises(httpx.TransportError):
                await caller.post(url)
        assert await process.wait() == -signal.SIGKILL
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert await count(api, outbox) == 2
    replayed = await client.post(f"/configs/{config['id']}/trigger", headers=KEY)
    assert (replayed.status_code, replayed.headers["Idempotent-Replayed"]) == (202, "true")
    assert await count(api, outbox) == 2
    async with api.engine.connect() as connection:
        tick = (await connection.execute(sa.select(outbox.c.value).where(outbox.c.topic == "ticks"))).scalar_one()
    assert replayed.json()["run_id"].encode() in tick
