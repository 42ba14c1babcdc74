"""Backfills as objects: dry run, list, progress, pause, resume, cancel, and the rules of all writes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from admin_api.backfills.estimates import BYTES_PER_CANDLE
from contracts.backfills import BackfillChange, BackfillChanged
from contracts.coverage import to_instant, to_milliseconds
from contracts.topics import BACKFILL_EVENTS
from runtime.kafka.codec import decode
from store.tables import backfill_series, backfills, candles, outbox
from support.api import a_token, client_of, created
from support.stored_backfills import store_chunks
from support.stored_ledgers import MINUTE, AbsentSpan, iso, store_ledger, store_series

pytestmark = pytest.mark.postgres

DAY = 1440 * MINUTE
NOW = to_milliseconds(datetime.now(UTC)) // DAY * DAY
"""The last midnight."""


def a_backfill(**overrides: Any) -> dict[str, Any]:
    return {"select": {"symbol": "*"}, "start": iso(NOW - 10 * DAY), "end": iso(NOW)} | overrides


async def ordered(client: httpx.AsyncClient, **overrides: Any) -> dict[str, Any]:
    answer = await client.post("/backfills", json=a_backfill(**overrides))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def details(client: httpx.AsyncClient, backfill_id: int) -> dict[str, Any]:
    answer = await client.get(f"/backfills/{backfill_id}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def estimated(client: httpx.AsyncClient, **overrides: Any) -> dict[str, Any]:
    answer = await client.post("/backfills", json=a_backfill(dry_run=True, **overrides))
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert body["dry_run"] is True
    estimate: dict[str, Any] = body["estimate"]
    return estimate


async def test_a_dry_run_answers_the_cost_and_creates_nothing(api: AdminApi, client: httpx.AsyncClient) -> None:
    await created(client)
    series_id = await store_series(api.engine, NOW - 20 * DAY, NOW - MINUTE)
    await store_ledger(
        api.engine,
        series_id,
        [(NOW - 20 * DAY, NOW - 8 * DAY), (NOW - DAY, NOW)],
        [AbsentSpan(NOW - 2 * DAY, NOW - DAY, "lost")],
    )
    found = await estimated(client, timeframes=["1m"])
    # Six days are missing, less the day that is lost: 8,640 minutes in pages of 998.
    assert (found["series"], found["candles"], found["requests"]) == (1, 8640, 9)
    assert (found["weight"], found["duration_seconds"]) == (pytest.approx(3.6), pytest.approx(0.18))
    assert (found["disk_bytes"], found["is_upper_bound"]) == (8640 * BYTES_PER_CANDLE, False)
    [never] = found["never_available"]
    assert (never["absence_class"], never["reason"], never["candles"]) == ("beyond_horizon", "evidence for lost", 1440)
    again = await estimated(client, timeframes=["1m"], mode="all")
    assert again["candles"] == 10 * 1440 - 1440
    assert (await client.get("/backfills")).json() == []
    assert [each["action"] for each in (await client.get("/audit-log")).json()] == ["config.create"]


async def test_a_dry_run_says_what_is_beyond_the_horizon(client: httpx.AsyncClient) -> None:
    await created(client, exchange="kraken", timeframes=["1m", "1d"])
    found = await estimated(client)
    by_timeframe = {each["timeframe"]: each for each in found["never_available"]}
    assert by_timeframe.keys() == {"1m"}
    assert by_timeframe["1m"]["absence_class"] == "beyond_horizon"
    assert by_timeframe["1m"]["candles"] > 12_000
    assert found["requests"] < 5


async def test_candles_from_trades_have_their_cost_in_the_dry_run_and_are_ordered_explicitly(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    """Lost time is wanted again. The mean number of trades is that of the stored candles."""
    await created(client, exchange="kraken", symbol="BTC/USD", timeframes=["1m"])
    series_id = await store_series(api.engine, exchange="kraken", symbol="BTC/USD")
    until = to_milliseconds(datetime.now(UTC)) // MINUTE * MINUTE
    await store_ledger(
        api.engine,
        series_id,
        [(until - 700 * MINUTE, until)],
        [AbsentSpan(until - 5 * DAY, until - 720 * MINUTE, "lost")],
    )
    wanted = {"start": iso(until - 2 * DAY), "end": iso(until), "source": "trades"}
    unknown = (await estimated(client, **wanted))["exchanges"][0]
    assert unknown["from_trades"]["series_of_unknown_cost"] == 1
    assert unknown["duration_seconds"] is None
    row = {"series_id": series_id, "open": 1, "high": 1, "low": 1, "close": 1, "volume": 1, "trades": 50}
    async with api.engine.begin() as connection:
        times = {"open_time": to_instant(until - 5 * MINUTE), "fetched_at": to_instant(until)}
        await connection.execute(sa.insert(candles).values(row | times))
    found = await estimated(client, **wanted)
    [kraken] = found["exchanges"]
    # 2161 candles of 50 trades: 109 pages, in 6 runs of 400 candles with 6 more requests each.
    assert kraken["from_trades"]["requests"] == pytest.approx(109 + 36, abs=1)
    assert kraken["duration_seconds"] == pytest.approx(kraken["weight"])
    assert found["never_available"] == []
    assert (await estimated(client, **wanted | {"source": "candles"}))["never_available"] != []

    made = await ordered(client, **wanted)
    assert made["source"] == "trades"
    shown = await details(client, made["id"])
    assert shown["progress"]["missing_candles"] == 2880 - 700
    assert (await ordered(client))["source"] == "candles", "the default"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "binance, kraken"),
        ({"mode": "all"}, "leave out `mode: all`"),
        ({"start": None}, "needs a `start`"),
    ],
)
async def test_candles_from_trades_are_refused_where_nothing_could_prove_them(
    client: httpx.AsyncClient, changes: dict[str, Any], words: str
) -> None:
    await created(client, exchange="okx")
    answer = await client.post("/backfills", json=a_backfill(source="trades", **changes))
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


async def test_the_size_of_a_candle_is_that_of_the_table(api: AdminApi) -> None:
    series_id, count = await store_series(api.engine), 20_000
    rows = sa.select(
        sa.literal(series_id),
        sa.literal(to_instant(NOW)) + sa.cast(sa.column("n"), sa.Integer) * sa.literal(timedelta(minutes=1)),
        *(sa.func.random() for _ in range(5)),
        sa.func.now(),
    ).select_from(sa.func.generate_series(1, count).alias("n"))
    names = ["series_id", "open_time", "open", "high", "low", "close", "volume", "fetched_at"]
    async with api.engine.begin() as connection:
        await connection.execute(sa.insert(candles).from_select(names, rows))
        size = await connection.scalar(
            sa.text("SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('candles')")
        )
        size = size or await connection.scalar(sa.text("SELECT pg_total_relation_size('candles')"))
    assert float(size) / count == pytest.approx(BYTES_PER_CANDLE, rel=0.25)


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


async def test_the_progress_follows_the_ledger_and_the_chunks(api: AdminApi, client: httpx.AsyncClient) -> None:
    config = await created(client, timeframes=["1m"])
    series_id = await store_series(api.engine, NOW - 2 * DAY, NOW - MINUTE)
    await store_ledger(api.engine, series_id, [(NOW - DAY, NOW)])
    backfill_id = (await ordered(client))["id"]
    found = (await details(client, backfill_id))["progress"]
    assert (found["percent"], found["is_whole"], found["candles"]) == (10.0, False, 14_400)
    assert (found["reached"], found["candles_per_second"], found["eta"]) == (iso(NOW - DAY), None, None)
    await store_ledger(api.engine, series_id, [(NOW - 4 * DAY, NOW)])
    now = datetime.now(UTC)
    done = {"backfill_id": backfill_id, "state": "verified", "ended_at": now, "created_at": now - timedelta(minutes=5)}
    await store_chunks(api.engine, series_id, [(NOW - 4 * DAY, NOW - DAY)], config_id=config["id"], **done)
    waits = {"reason": "The exchange answered, but nothing proves 1 candle.", "backfill_id": backfill_id}
    await store_chunks(
        api.engine,
        series_id,
        [(NOW - 5 * DAY, NOW - 4 * DAY)],
        config_id=config["id"],
        **waits,
    )
    body = await details(client, backfill_id)
    found = body["progress"]
    assert (found["percent"], found["reached"]) == (40.0, iso(NOW - 4 * DAY))
    assert found["candles_per_second"] == pytest.approx(3 * 1440 / 300, rel=0.1)
    eta = datetime.fromisoformat(found["eta"]) - datetime.now(UTC)
    assert eta.total_seconds() == pytest.approx(6 * 1440 / found["candles_per_second"], abs=10)
    assert (found["chunks"]["waiting"], found["chunks"]["verified"]) == (1, 1)
    assert found["next_attempt_at"] == iso(NOW - 4 * DAY)
    assert found["reasons"] == [{"state": "waiting", "error_class": None, "reason": waits["reason"], "chunks": 1}]
    assert (body["remaining"]["candles"], body["remaining"]["is_upper_bound"]) == (6 * 1440, True)
    await store_ledger(api.engine, series_id, [(NOW - 20 * DAY, NOW)])
    found = (await details(client, backfill_id))["progress"]
    assert (found["percent"], found["is_whole"], found["eta"]) == (100.0, True, None)


async def test_a_backfill_of_the_mode_all_counts_only_its_own_chunks(api: AdminApi, client: httpx.AsyncClient) -> None:
    await created(client, timeframes=["1m"])
    series_id = await store_series(api.engine, NOW - 20 * DAY, NOW - MINUTE)
    await store_ledger(api.engine, series_id, [(NOW - 20 * DAY, NOW)])
    backfill_id = (await ordered(client, mode="all"))["id"]
    assert (await details(client, backfill_id))["progress"]["percent"] == 0.0
    half = [(NOW - 5 * DAY, NOW)]
    await store_chunks(api.engine, series_id, half, state="verified", ended_at=datetime.now(UTC))
    assert (await details(client, backfill_id))["progress"]["percent"] == 0.0
    done = {"state": "verified", "ended_at": datetime.now(UTC), "backfill_id": backfill_id}
    await store_chunks(api.engine, series_id, half, **done)
    assert (await details(client, backfill_id))["progress"]["percent"] == 50.0


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


async def test_the_largest_list_of_series_fits_into_a_request(client: httpx.AsyncClient) -> None:
    configs = [
        {"exchange": "binance", "symbol": f"ANASSETWITHALONGNAME{number}/USDT", "timeframes": ["1m"], "enabled": False}
        for number in range(1000)
    ]
    made = await client.post("/configs/bulk/create", json={"configs": configs})
    assert made.json()["summary"]["done"] == 1000, made.text
    series = [{"exchange": "binance", "symbol": each["symbol"], "timeframe": "1m"} for each in configs]
    assert (await estimated(client, select=None, series=series))["series"] == 1000


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


async def test_the_series_of_a_backfill_have_their_own_progress(api: AdminApi, client: httpx.AsyncClient) -> None:
    config = await created(client, timeframes=["1m"])
    await created(client, symbol="ETH/USDT", timeframes=["1m"])
    series_id = await store_series(api.engine, NOW - 20 * DAY, NOW - MINUTE)
    await store_ledger(api.engine, series_id, [(NOW - 4 * DAY, NOW)])
    backfill_id = (await ordered(client))["id"]
    first = await client.get(f"/backfills/{backfill_id}/series?limit=1")
    assert first.headers["x-total-count"] == "2"
    names = {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m", "config_id": config["id"]}
    counts = {"candles": 14_400, "missing_candles": 8640, "percent": 40.0, "is_whole": False}
    assert first.json() == [names | counts]
    [second] = (await client.get(f"http://api{first.links['next']['url']}")).json()
    assert (second["symbol"], second["candles"], second["percent"]) == ("ETH/USDT", 14_400, 0.0)
    assert (await client.get("/backfills/999/series")).status_code == 404


async def test_the_chunks_of_a_backfill_have_pages_states_and_reasons(api: AdminApi, client: httpx.AsyncClient) -> None:
    await created(client, timeframes=["1m"])
    series_id = await store_series(api.engine, NOW - 20 * DAY, NOW - MINUTE)
    backfill_id = (await ordered(client))["id"]
    of_it, other = {"backfill_id": backfill_id}, {"backfill_id": backfill_id + 1}
    refused = {"state": "failed", "reason": "okx answered HTTP 400", "error_class": "invalid_request", "attempts": 3}
    await store_chunks(api.engine, series_id, [(NOW - 2 * DAY, NOW - DAY), (NOW - 3 * DAY, NOW - 2 * DAY)], **of_it)
    await store_chunks(api.engine, series_id, [(NOW - 4 * DAY, NOW - 3 * DAY)], **of_it, **refused)
    await store_chunks(api.engine, series_id, [(NOW - 9 * DAY, NOW - 8 * DAY)], **other, **refused)
    first = await client.get(f"/backfills/{backfill_id}/chunks?limit=2")
    assert first.headers["x-total-count"] == "3"
    rest = await client.get(f"http://api{first.links['next']['url']}")
    chunks = [*first.json(), *rest.json()]
    assert [each["end"] for each in chunks] == [iso(NOW - DAY), iso(NOW - 2 * DAY), iso(NOW - 3 * DAY)]
    assert {(each["symbol"], each["timeframe"]) for each in chunks} == {("BTC/USDT", "1m")}
    failed = (await client.get(f"/backfills/{backfill_id}/chunks?state=failed&sort=-id")).json()
    assert failed == chunks[2:]
    assert failed[0].items() >= refused.items()
    assert (await client.get("/backfills/999/chunks")).status_code == 404
