"""Backfills as objects: list, pause, resume, cancel, and the rules of all writes."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from contracts.backfills import BackfillChange, BackfillChanged
from contracts.topics import BACKFILL_EVENTS
from runtime.kafka.codec import decode
from store.tables import backfill_series, backfills, outbox
from support.api import a_token, client_of, created
from support.ordering_backfills import DAY, NOW, a_backfill, details, estimated, ordered
from support.stored_ledgers import iso

pytestmark = pytest.mark.postgres


async def test_a_backfill_is_stored_with_its_series_and_listed(api: AdminApi, client: httpx.AsyncClient) -> None:
    config = await created(client)
    await created(client, symbol="ETH/USDT", timeframes=["1m"])
    body = await ordered(client, select={"ids": [config["id"]]}, description="for the audit", mode="all")
    assert (body["state"], body["mode"], body["series"], body["version"]) == ("active", "all", 2, 1)
    assert (body["start"], body["end"]) == (iso(NOW - 10 * DAY), iso(NOW))
    assert (body["selector"], body["description"]) == ({"select": {"ids": [config["id"]]}}, "for the audit")
    async with api.engine.connect() as connection:
        rows = (await connection.execute(sa.select(backfill_series).order_by(backfill_series.c.timeframe))).all()
    assert [tuple(row) for row in rows] == [
        (body["id"], "binance", "BTC/USDT", timeframe, config["id"]) for timeframe in ("1h", "1m")
    ]
    series = [{"exchange": "binance", "symbol": "ETH/USDT", "timeframe": "1m"}]
    other = await ordered(client, select=None, series=series, start=None, end=None)
    assert (other["series"], other["start"]) == (1, None)
    assert (await client.get("/backfills")).json() == [other, body]
    assert (await client.get("/backfills?sort=id")).json() == [body, other]


async def test_the_list_has_pages_and_a_filter(client: httpx.AsyncClient) -> None:
    await created(client)
    ids = [(await ordered(client))["id"] for _ in range(3)]
    await client.post(f"/backfills/{ids[1]}/pause")
    paused = await client.get("/backfills?state=paused")
    assert [each["id"] for each in paused.json()] == [ids[1]]
    first = await client.get("/backfills?limit=2")
    assert first.headers["x-total-count"] == "3"
    second = await client.get(f"http://api{first.links['next']['url']}")
    assert [each["id"] for each in (*first.json(), *second.json())] == ids[::-1]


async def test_pause_resume_and_cancel(client: httpx.AsyncClient) -> None:
    await created(client)
    made = await ordered(client)
    path = f"/backfills/{made['id']}"
    states = []
    for action in ("pause", "pause", "resume", "cancel", "cancel"):
        answer = await client.post(f"{path}/{action}")
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert answer.headers["etag"] == f'"{body["version"]}"'
        states.append((body["state"], body["version"]))
    assert states == [("paused", 2), ("paused", 2), ("active", 3), ("cancelled", 4), ("cancelled", 4)]
    assert body["updated_at"] > made["updated_at"]
    refused = await client.post(f"{path}/resume")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:candlekeep:problem:backfill-cancelled")
    assert (await client.post("/backfills/999/pause")).status_code == 404
    entries = (await client.get("/audit-log?object_type=backfill")).json()
    assert [(each["action"], each["outcome"]) for each in entries if each["outcome"] == "done"] == [
        ("backfill.cancel", "done"),
        ("backfill.resume", "done"),
        ("backfill.pause", "done"),
        ("backfill.create", "done"),
    ]
    assert (entries[-1]["object_id"], entries[-1]["before"]) == (str(made["id"]), None)
    done = [each for each in entries if each["action"] == "backfill.pause"][-1]
    assert (done["before"]["state"], done["after"]["state"]) == ("active", "paused")


async def test_a_change_with_a_stale_version_is_refused(client: httpx.AsyncClient) -> None:
    await created(client)
    made = await client.post("/backfills", json=a_backfill())
    path, tag = made.headers["location"], made.headers["etag"]
    url = f"http://api{path}"
    assert (await client.get(url)).headers["etag"] == tag
    assert (await client.post(f"{url}/pause", headers={"If-Match": tag})).status_code == 200
    refused = await client.post(f"{url}/cancel", headers={"If-Match": tag})
    assert (refused.status_code, refused.headers["etag"], refused.json()["version"]) == (412, '"2"', 2)


async def test_a_repeated_request_with_a_key_creates_one_backfill(client: httpx.AsyncClient) -> None:
    await created(client)
    headers = {"Idempotency-Key": "one-backfill"}
    first = await client.post("/backfills", json=a_backfill(), headers=headers)
    again = await client.post("/backfills", json=a_backfill(), headers=headers)
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert len((await client.get("/backfills")).json()) == 1


async def test_a_viewer_reads_and_an_operator_writes(api: AdminApi, client: httpx.AsyncClient) -> None:
    await created(client)
    made = await ordered(client)
    async with client_of(api, (await a_token(client, "viewer"))["token"]) as viewer:
        assert (await viewer.get(f"/backfills/{made['id']}")).status_code == 200
        assert (await viewer.post("/backfills", json=a_backfill())).status_code == 403
        assert (await viewer.post(f"/backfills/{made['id']}/cancel")).status_code == 403
    async with client_of(api, (await a_token(client, "operator"))["token"]) as operator:
        assert (await operator.post("/backfills", json=a_backfill())).status_code == 201


@pytest.mark.parametrize(
    ("overrides", "status", "place"),
    [
        ({"select": None}, 422, None),
        ({"series": [{"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m"}]}, 422, None),
        ({"start": 1700000000}, 422, "#/start"),
        ({"start": iso(NOW + 3 * DAY)}, 422, "#/start"),
        ({"start": iso(NOW), "end": iso(NOW - DAY)}, 422, "#/start"),
        ({"start": None, "end": "2009-01-01T00:00:00Z"}, 422, "#/end"),
        ({"mode": "some"}, 422, "#/mode"),
        ({"select": {"ids": [999]}}, 404, None),
        ({"select": {"exchange": "kraken"}}, 404, None),
        ({"timeframes": ["5m"]}, 404, None),
        ({"select": None, "series": [{"exchange": "kraken", "symbol": "BTC/USD", "timeframe": "1m"}]}, 404, None),
    ],
)
async def test_a_wrong_request_is_refused_and_says_where(
    client: httpx.AsyncClient, overrides: dict[str, Any], status: int, place: str | None
) -> None:
    await created(client)
    answer = await client.post("/backfills", json=a_backfill(**overrides))
    assert answer.status_code == status, answer.text
    if place is not None:
        assert [each["pointer"] for each in answer.json()["errors"]] == [place]
    assert (await client.get("/backfills")).json() == []


async def test_a_later_end_than_now_means_now(client: httpx.AsyncClient) -> None:
    await created(client)
    made = await ordered(client, end=iso(NOW + 30 * DAY))
    assert datetime.fromisoformat(made["end"]) <= datetime.now(UTC)


async def test_the_backfill_survives_its_config(api: AdminApi, client: httpx.AsyncClient) -> None:
    config = await created(client)
    made = await ordered(client)
    assert (await client.delete(f"/configs/{config['id']}")).status_code == 204
    assert (await details(client, made["id"]))["series"] == 2
    async with api.engine.connect() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(backfills)) == 1


async def test_each_change_is_announced_in_its_transaction(api: AdminApi, client: httpx.AsyncClient) -> None:
    await created(client)
    backfill_id = (await ordered(client))["id"]
    await estimated(client)
    for action in ("pause", "pause", "resume", "cancel"):
        assert (await client.post(f"/backfills/{backfill_id}/{action}")).status_code == 200
    assert (await client.post(f"/backfills/{backfill_id}/resume")).status_code == 409
    select = sa.select(outbox.c.key, outbox.c.value).where(outbox.c.topic == BACKFILL_EVENTS.name)
    async with api.engine.connect() as connection:
        rows = (await connection.execute(select.order_by(outbox.c.id))).all()
    events = [decode(BACKFILL_EVENTS, row.value) for row in rows]
    assert {row.key for row in rows} == {str(backfill_id)}
    assert [(each.change, each.version) for each in events if isinstance(each, BackfillChanged)] == [
        (BackfillChange.CREATED, 1),
        (BackfillChange.PAUSED, 2),
        (BackfillChange.RESUMED, 3),
        (BackfillChange.CANCELLED, 4),
    ]
