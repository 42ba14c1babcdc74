import asyncio
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from contracts.configs import ConfigChanged, ConfigRemoved
from contracts.ticks import TickDue
from contracts.topics import CONFIG_CHANGES, TICKS
from runtime.kafka.codec import decode
from store.tables import config_timeframes, outbox
from support.api import a_config, created

pytestmark = pytest.mark.postgres

GUIDE_FIELDS = [
    "id",
    "symbol",
    "exchange",
    "timeframes",
    "interval_minutes",
    "enabled",
    "job_id",
    "created_at",
    "description",
]


async def announced(api: AdminApi) -> list[Any]:
    """The outbox in order, as tuples of topic, key, and event or None."""
    async with api.engine.connect() as connection:
        rows = (await connection.execute(sa.select(outbox).order_by(outbox.c.id))).all()
    topics = {CONFIG_CHANGES.name: CONFIG_CHANGES, TICKS.name: TICKS}
    return [(row.topic, row.key, decode(topics[row.topic], row.value) if row.value else None) for row in rows]


async def test_create_returns_201_with_the_fields_of_the_guide_first_and_a_location(client: httpx.AsyncClient) -> None:
    answer = await client.post("/configs", json=a_config(description="Bitcoin"))
    body = answer.json()
    assert answer.status_code == 201
    assert list(body)[: len(GUIDE_FIELDS)] == GUIDE_FIELDS
    assert body["job_id"] == f"collect_data_{body['id']}"
    assert body["created_at"].endswith("Z")
    assert (body["version"], body["warnings"], body["description"]) == (1, [], "Bitcoin")
    assert answer.headers["Location"] == f"/api/v1/admin/data-collection/configs/{body['id']}"
    assert (await client.get(f"/configs/{body['id']}")).json() == body


async def test_create_publishes_the_whole_config_in_the_same_transaction(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    body = await created(client)
    [(topic, key, event)] = await announced(api)
    assert (topic, key) == ("config-changes", str(body["id"]))
    assert isinstance(event, ConfigChanged)
    assert (event.config.version, event.config.timeframes, event.config.enabled) == (1, ("1m", "1h"), True)


async def test_defaults_are_ten_minutes_enabled_and_no_description(client: httpx.AsyncClient) -> None:
    wanted = {"symbol": "BTC/USDT", "exchange": "binance", "timeframes": ["1m"]}
    body = (await client.post("/configs", json=wanted)).json()
    assert (body["interval_minutes"], body["enabled"], body["description"]) == (10, True, None)


async def test_an_interval_below_five_is_accepted_with_a_warning(client: httpx.AsyncClient) -> None:
    body = await created(client, interval_minutes=4)
    assert "5 or more is recommended" in body["warnings"][0]
    raised = await client.put(f"/configs/{body['id']}", json={"interval_minutes": 5})
    assert raised.json()["warnings"] == []


async def test_symbols_are_stored_unchanged(client: httpx.AsyncClient) -> None:
    for symbol in ("kPEPE/USDC:USDC", "币安人生/USDT"):
        assert (await created(client, symbol=symbol))["symbol"] == symbol


async def test_update_changes_only_the_sent_fields_and_raises_the_version(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    before = await created(client, description="Bitcoin")
    answer = await client.put(f"/configs/{before['id']}", json={"interval_minutes": 5, "timeframes": ["5m"]})
    after = answer.json()
    assert answer.status_code == 200
    assert after == before | {
        "interval_minutes": 5,
        "timeframes": ["5m"],
        "version": 2,
        "updated_at": after["updated_at"],
    }
    assert after["updated_at"] > before["updated_at"]
    event = (await announced(api))[-1][2]
    assert (event.config.version, event.config.interval_minutes, event.config.timeframes) == (2, 5, ("5m",))


@pytest.mark.parametrize("changes", [{}, {"interval_minutes": 10}, {"timeframes": ["1m", "1h"], "enabled": True}])
async def test_an_update_without_a_change_publishes_nothing(
    api: AdminApi, client: httpx.AsyncClient, changes: dict[str, Any]
) -> None:
    before = await created(client)
    assert (await client.put(f"/configs/{before['id']}", json=changes)).json() == before
    assert len(await announced(api)) == 1


async def test_only_the_description_can_be_set_to_null(client: httpx.AsyncClient) -> None:
    config = await created(client, description="Bitcoin")
    path = f"/configs/{config['id']}"
    assert (await client.put(path, json={"description": None})).json()["description"] is None
    refused = await client.put(path, json={"symbol": None, "enabled": None})
    assert refused.status_code == 422
    assert "enabled, symbol" in refused.json()["detail"]


async def test_a_new_exchange_must_offer_the_existing_timeframes(client: httpx.AsyncClient) -> None:
    config = await created(client, timeframes=["4h"])
    refused = await client.put(f"/configs/{config['id']}", json={"exchange": "coinbase"})
    assert refused.status_code == 422
    assert "1m, 5m, 15m, 30m, 1h, 2h, 6h, 1d" in refused.json()["detail"]


async def test_enable_and_disable_are_idempotent_and_return_the_config(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    config = await created(client)
    path = f"/configs/{config['id']}"
    for verb, enabled, version in (
        ("enable", True, 1),
        ("disable", False, 2),
        ("disable", False, 2),
        ("enable", True, 3),
    ):
        answer = await client.post(f"{path}/{verb}")
        assert answer.status_code == 200
        assert (answer.json()["enabled"], answer.json()["version"]) == (enabled, version)
    assert [event.config.enabled for _, _, event in await announced(api)] == [True, False, True]


async def test_delete_returns_204_keeps_the_logs_and_publishes_the_removal_and_a_tombstone(
    api: AdminApi, client: httpx.AsyncClient, add_run: Any
) -> None:
    config = await created(client)
    await add_run(config_id=config["id"])
    answer = await client.delete(f"/configs/{config['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await client.get(f"/configs/{config['id']}")).status_code == 404
    logs = await client.get("/execution-logs", params={"job_name": config["job_id"]})
    assert len(logs.json()) == 1
    key = str(config["id"])
    (_, _, removed), tombstone = (await announced(api))[1:]
    assert isinstance(removed, ConfigRemoved)
    assert (removed.config_id, removed.version) == (config["id"], 2)
    assert tombstone == ("config-changes", key, None)
    await created(client)  # its timeframes are released


async def test_trigger_returns_202_with_the_published_run_id_also_of_a_disabled_config(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    config = await created(client, enabled=False)
    answer = await client.post(f"/configs/{config['id']}/trigger")
    body = answer.json()
    assert answer.status_code == 202
    assert (body["config_id"], body["job_id"], body["status"]) == (config["id"], config["job_id"], "accepted")
    topic, key, tick = (await announced(api))[-1]
    assert isinstance(tick, TickDue)
    assert (topic, key, str(tick.run_id)) == ("ticks", "binance", body["run_id"])
    assert (tick.trigger, tick.progress, tick.deadline_seconds) == ("manual", (), 120)
    assert tick.config.config_id == config["id"]


async def test_a_timeframe_of_another_config_is_409_with_that_config(client: httpx.AsyncClient) -> None:
    first = await created(client, timeframes=["1m", "5m"])
    second = await created(client, timeframes=["1d"], interval_minutes=1440)
    refused = await client.post("/configs", json=a_config(timeframes=["1h", "1d", "1m"]))
    body = refused.json()
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"
    assert (body["config_id"], body["timeframes"]) == (first["id"], ["1m"])
    assert body["conflicts"][1] == {"config_id": second["id"], "timeframes": ["1d"]}
    assert f"config {first['id']} already collects 1m" in body["detail"]


async def test_the_same_timeframe_of_another_symbol_or_exchange_is_free(client: httpx.AsyncClient) -> None:
    await created(client)
    await created(client, symbol="BTC/USDT:USDT")
    await created(client, exchange="kraken")


@pytest.mark.parametrize("changes", [{"timeframes": ["1m", "1d"]}, {"symbol": "BTC/USDT", "exchange": "binance"}])
async def test_an_update_to_a_taken_timeframe_is_409_and_changes_nothing(
    api: AdminApi, client: httpx.AsyncClient, changes: dict[str, Any]
) -> None:
    first = await created(client)
    other = await created(client, symbol="BTC/USDT" if "timeframes" in changes else "ETH/USDT", timeframes=["5m"])
    taken = changes if "timeframes" in changes else {**changes, "timeframes": ["1h"]}
    refused = await client.put(f"/configs/{other['id']}", json=taken)
    assert (refused.status_code, refused.json()["config_id"]) == (409, first["id"])
    assert (await client.get(f"/configs/{other['id']}")).json() == other
    assert len(await announced(api)) == 2


async def test_only_one_of_several_concurrent_creates_gets_a_timeframe(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    wanted = [a_config(timeframes=["1m", f"{hours}h"]) for hours in (1, 2, 4, 6, 8, 12)]
    answers = await asyncio.gather(*(client.post("/configs", json=each) for each in wanted))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]
    [winner] = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    assert {answer.json()["config_id"] for answer in answers if answer.status_code == 409} == {winner}
    async with api.engine.connect() as connection:
        held = (await connection.execute(sa.select(config_timeframes.c.config_id))).scalars().all()
    assert held == [winner, winner]


async def test_concurrent_changes_of_a_config_are_published_in_the_order_of_its_versions(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    config = await created(client)
    changes = [client.put(f"/configs/{config['id']}", json={"interval_minutes": 100 + n}) for n in range(20)]
    assert {answer.status_code for answer in await asyncio.gather(*changes)} == {200}
    assert [event.config.version for _, _, event in await announced(api)] == list(range(1, 22))


async def test_the_list_is_an_array_by_id_with_filters_pages_and_the_total(client: httpx.AsyncClient) -> None:
    for exchange, enabled in (("binance", True), ("kraken", True), ("kraken", False), ("okx", True)):
        symbol = f"{exchange.upper()}{enabled}/USDT"
        await created(client, exchange=exchange, enabled=enabled, symbol=symbol)
    everything = await client.get("/configs")
    ids = [config["id"] for config in everything.json()]
    assert ids == sorted(ids)
    assert (len(ids), everything.headers["X-Total-Count"]) == (4, "4")
    for params, expected, total in (
        ({"exchange": "kraken"}, ids[1:3], 2),
        ({"enabled": "false"}, ids[2:3], 1),
        ({"enabled": "true", "exchange": "kraken"}, ids[1:2], 1),
        ({"skip": 1, "limit": 2}, ids[1:3], 4),
        ({"skip": 100}, [], 4),
        ({"exchange": "nowhere"}, [], 0),
    ):
        page = await client.get("/configs", params=params)
        assert [config["id"] for config in page.json()] == expected, params
        assert page.headers["X-Total-Count"] == str(total)
