"""If-Match: nobody overwrites what they have not seen. Idempotency-Key: what is sent twice is done once."""

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


async def test_every_answer_with_a_config_has_its_version_as_a_strong_etag(client: httpx.AsyncClient) -> None:
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
async def test_a_change_to_a_version_that_is_gone_is_412_and_to_the_current_one_is_made(
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


async def test_a_star_matches_any_version_and_nothing_else_makes_a_config_appear(client: httpx.AsyncClient) -> None:
    config = await created(client)
    star = {"If-Match": "*"}
    assert (await client.put(f"/configs/{config['id']}", json={}, headers=star)).status_code == 200
    assert (await client.delete(f"/configs/{config['id']}", headers=star)).status_code == 204
    assert (await client.delete(f"/configs/{config['id']}", headers=star)).status_code == 404


async def test_an_update_that_changes_nothing_keeps_the_etag(client: httpx.AsyncClient) -> None:
    config = await created(client)
    for _ in range(2):
        same = await client.put(f"/configs/{config['id']}", json={"interval_minutes": 10}, headers={"If-Match": '"1"'})
        assert (same.status_code, same.headers["ETag"]) == (200, '"1"')


async def test_what_the_reader_has_already_is_304_without_a_body(client: httpx.AsyncClient) -> None:
    config = await created(client)
    path = f"/configs/{config['id']}"
    for had in ('"1"', 'W/"1"', '"0", "1"', "*"):
        unchanged = await client.get(path, headers={"If-None-Match": had})
        assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", '"1"')
    assert (await client.get(path, headers={"If-None-Match": '"2"'})).json() == config
    assert (await client.get(path, headers={"If-None-Match": "1"})).status_code == 422


async def test_of_two_who_saw_the_same_version_exactly_one_changes_it(client: httpx.AsyncClient) -> None:
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


async def test_a_create_sent_twice_is_answered_twice_and_done_once(api: AdminApi, client: httpx.AsyncClient) -> None:
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
async def test_the_other_posts_are_repeated_likewise(api: AdminApi, client: httpx.AsyncClient, verb: str) -> None:
    config = await created(client, enabled=verb == "disable")
    before = await count(api, outbox)
    first = await client.post(f"/configs/{config['id']}/{verb}", headers=KEY)
    await client.put(f"/configs/{config['id']}", json={"description": "later"})
    again = await client.post(f"/configs/{config['id']}/{verb}", headers=KEY)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert await count(api, outbox) == before + 2
    assert (await client.get(f"/configs/{config['id']}")).json()["description"] == "later"


async def test_a_refusal_is_repeated_too(client: httpx.AsyncClient) -> None:
    first = await client.post("/configs/4711/trigger", headers=KEY)
    again = await client.post("/configs/4711/trigger", headers=KEY)
    assert (first.status_code, again.status_code) == (404, 404)
    assert again.content == first.content
    assert again.headers["content-type"] == "application/problem+json"
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_a_refusal_leaves_nothing_but_its_answer(api: AdminApi, client: httpx.AsyncClient) -> None:
    holder = await created(client)
    refused = await client.post("/configs", json=a_config(timeframes=["5m", "1m"]), headers=KEY)
    assert (refused.status_code, refused.json()["config_id"]) == (409, holder["id"])
    assert (await count(api, outbox), await count(api, audit_log)) == (1, 1)
    assert len((await client.get("/configs")).json()) == 1
    await created(client, timeframes=["5m"])  # the refused one claimed nothing


async def test_a_key_stands_for_one_request(api: AdminApi, client: httpx.AsyncClient) -> None:
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


async def test_a_key_of_one_caller_is_nothing_to_another(api: AdminApi, client: httpx.AsyncClient) -> None:
    token = (await a_token(client, "admin"))["token"]
    await client.post("/configs", json=a_config(), headers=KEY)
    async with client_of(api, token) as other:
        answer = await other.post("/configs", json=a_config(symbol="ETH/USDT"), headers=KEY)
    assert (answer.status_code, "Idempotent-Replayed" in answer.headers) == (201, False)


@pytest.mark.parametrize("key", ["", " ", "a b", '"', '""', '"a', 'a"b', "\xe9", "x" * 256, f'"{"x" * 256}"'])
async def test_a_malformed_key_is_422_by_the_headers_name(api: AdminApi, client: httpx.AsyncClient, key: str) -> None:
    answer = await client.post("/configs", json=a_config(), headers={"Idempotency-Key": key.encode("latin-1")})
    assert answer.status_code == 422
    assert [error["where"] for error in answer.json()["errors"]] == ["header"]
    assert answer.json()["errors"][0]["pointer"].lower() == "#/idempotency-key"
    assert await count(api, outbox) == 0


async def test_a_key_may_have_255_characters_and_is_sent_once(client: httpx.AsyncClient) -> None:
    longest = {"Idempotency-Key": f'"{"x" * 255}"'}
    assert (await client.post("/configs", json=a_config(), headers=longest)).status_code == 201
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert (await client.post("/configs", json=a_config(symbol="ETH/USDT"), headers=twice)).status_code == 422


async def test_a_request_that_never_got_to_its_verb_does_not_use_up_its_key(client: httpx.AsyncClient) -> None:
    assert (await client.post("/configs", json=a_config(interval_minutes=0), headers=KEY)).status_code == 422
    assert (await client.post("/configs", json=a_config(), headers=KEY)).status_code == 201


async def test_while_the_first_is_being_served_the_second_is_told_so_and_later_gets_its_answer(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    config = await created(client)
    path = f"/configs/{config['id']}/disable"
    async with api.engine.begin() as other:
        await other.exec_driver_sql(f"SELECT 1 FROM data_collection_configs WHERE id = {config['id']} FOR UPDATE")
        first = asyncio.create_task(client.post(path, headers=KEY))

        async def refused() -> httpx.Response | None:
            answer = await client.post(path, headers={**KEY, "If-Match": "*"})  # any request with this key
            return answer if answer.status_code == 409 else None

        # Until the first holds its key, this one waits for the row as well: it must not be the one with the key.
        async def first_waits() -> bool:
            async with api.engine.connect() as connection:
                locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
                return bool(await connection.scalar(sa.text(locks)))

        await eventually(first_waits, within=10)
        busy = await eventually(refused, within=10)
        assert busy.json()["type"].endswith(":idempotency-key-in-use")
        assert int(busy.headers["Retry-After"]) > 0
        assert not first.done()
    assert (await first).status_code == 200
    again = await client.post(path, headers=KEY)
    assert (again.content, again.headers["Idempotent-Replayed"]) == ((await first).content, "true")


async def test_of_many_with_one_key_at_once_one_is_done(api: AdminApi, client: httpx.AsyncClient) -> None:
    config = await created(client, enabled=False)
    path = f"/configs/{config['id']}/trigger"
    answers = await asyncio.gather(*(client.post(path, headers=KEY) for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    done = [answer for answer in answers if answer.status_code == 202]
    assert len({answer.json()["run_id"] for answer in done}) == 1
    assert len([answer for answer in done if "Idempotent-Replayed" not in answer.headers]) == 1
    assert await count(api, outbox) == 2


async def test_what_fails_on_our_side_is_not_kept(api: AdminApi, client: httpx.AsyncClient) -> None:
    async with api.engine.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE outbox RENAME TO out_of_order")
    assert (await client.post("/configs", json=a_config(), headers=KEY)).status_code == 500
    async with api.engine.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE out_of_order RENAME TO outbox")
    assert await count(api, idempotency_keys) == 0
    answer = await client.post("/configs", json=a_config(), headers=KEY)
    assert (answer.status_code, "Idempotent-Replayed" in answer.headers) == (201, False)


async def test_after_24_hours_a_key_is_new_again_and_new_keys_clear_old_ones_away(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    config = await created(client, enabled=False)
    path = f"/configs/{config['id']}/trigger"
    first = await client.post(path, headers=KEY)
    for n in range(3):
        await client.post(path, headers={"Idempotency-Key": f"other-{n}"})
    assert await count(api, idempotency_keys) == 4
    kept_until = sa.select(sa.func.min(idempotency_keys.c.expires_at))
    async with api.engine.begin() as connection:
        left = (await connection.scalar(kept_until)) - datetime.now(UTC)
        assert timedelta(hours=23, minutes=58) < left <= timedelta(hours=24)
        await connection.execute(sa.update(idempotency_keys).values(expires_at=datetime.now(UTC)))
    anew = await client.post(path, headers=KEY)
    assert "Idempotent-Replayed" not in anew.headers
    assert anew.json()["run_id"] != first.json()["run_id"]
    assert await count(api, idempotency_keys) == 1


async def test_killed_after_its_commit_the_next_process_gives_the_answer_that_nobody_heard(
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
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as caller:

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
