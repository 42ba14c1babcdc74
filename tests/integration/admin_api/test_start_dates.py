"""The start date of configs, in every way to write one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import yaml

from support.api import a_config, created

pytestmark = pytest.mark.postgres

NOT_ACCEPTED = ["2009-12-31", "2024-02-30", "20240115", "2024-1-5", "LISTING", "", "2024-W03-1", 20240115]


def tomorrow() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).date().isoformat()


async def change(client: httpx.AsyncClient, config: dict[str, Any], **values: Any) -> dict[str, Any]:
    answer = await client.put(f"/configs/{config['id']}", json=values)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_config_without_a_start_date_has_none(client: httpx.AsyncClient) -> None:
    assert (await created(client))["start_date"] is None


@pytest.mark.parametrize("start_date", ["2010-01-01", "2024-02-29", "listing", datetime.now(UTC).date().isoformat()])
async def test_create_stores_the_start_date(client: httpx.AsyncClient, start_date: str) -> None:
    body = await created(client, start_date=start_date)
    assert body["start_date"] == start_date
    assert (await client.get(f"/configs/{body['id']}")).json() == body
    assert (await client.get("/configs")).json() == [body]


@pytest.mark.parametrize("start_date", NOT_ACCEPTED)
async def test_other_texts_are_refused_with_their_place(client: httpx.AsyncClient, start_date: object) -> None:
    refused = await client.post("/configs", json=a_config(start_date=start_date))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "#/start_date"
    assert (await client.get("/configs")).json() == []


async def test_a_day_in_the_future_is_refused_in_every_way_to_write_it(client: httpx.AsyncClient) -> None:
    config = await created(client)
    other = a_config(symbol="ETH/USDT", start_date=tomorrow())
    refused = await client.post("/configs", json=other)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/start_date")
    assert "in the future" in refused.json()["errors"][0]["detail"]
    assert (await client.put(f"/configs/{config['id']}", json={"start_date": tomorrow()})).status_code == 422
    in_bulk = (await client.post("/configs/bulk/create", json={"configs": [other]})).json()
    assert in_bulk["items"][0]["problem"]["errors"][0]["pointer"] == "#/start_date"
    for entry in (other, a_config(start_date=tomorrow())):
        applied = await client.post("/configs/apply", json={"configs": [entry]})
        assert (applied.status_code, applied.json()["errors"][0]["pointer"]) == (422, "#/configs/0/start_date")


async def test_a_change_sets_keeps_and_removes_it_and_the_audit_log_shows_both(client: httpx.AsyncClient) -> None:
    config = await created(client, start_date="2024-01-15")
    kept = await change(client, config, interval_minutes=5)
    assert (kept["start_date"], kept["version"]) == ("2024-01-15", 2)
    assert (await change(client, config, start_date="2024-01-15"))["version"] == 2
    earlier = await change(client, config, start_date="listing")
    assert (earlier["start_date"], earlier["version"]) == ("listing", 3)
    assert (await change(client, config, start_date=None))["start_date"] is None
    entries = (await client.get("/audit-log")).json()
    assert [(each["before"] or {}).get("start_date") for each in entries] == [
        "listing",
        "2024-01-15",
        "2024-01-15",
        None,
    ]
    assert entries[0]["after"]["start_date"] is None


async def test_bulk_create_stores_start_dates(client: httpx.AsyncClient) -> None:
    wanted = [a_config(start_date="2023-05-01"), a_config(symbol="ETH/USDT", start_date="listing")]
    assert (await client.post("/configs/bulk/create", json={"configs": wanted})).json()["summary"]["done"] == 2
    assert [each["start_date"] for each in (await client.get("/configs")).json()] == ["2023-05-01", "listing"]


async def test_a_manifest_contains_the_start_date_and_shows_a_change(client: httpx.AsyncClient) -> None:
    await created(client, start_date="2024-01-15")
    await created(client, symbol="ETH/USDT")
    text = (await client.get("/configs/export")).text
    by_symbol = {each["symbol"]: each for each in yaml.safe_load(text)["configs"]}
    assert by_symbol["BTC/USDT"]["start_date"] == "2024-01-15"
    assert "start_date" not in by_symbol["ETH/USDT"]
    headers = {"Content-Type": "application/yaml"}
    unchanged = await client.post("/configs/apply", content=text, headers=headers)
    assert unchanged.json()["summary"]["unchanged"] == 2
    # A person writes the day without quotes.
    edited = text.replace('"2024-01-15"', "2023-01-15")
    assert edited != text
    changed = (await client.post("/configs/apply", content=edited, headers=headers)).json()
    [difference] = changed["changes"]
    assert difference["fields"] == [{"field": "start_date", "from": "2024-01-15", "to": "2023-01-15"}]
    # A file of an earlier release has no such field, which means its default, as for the description.
    old = edited.replace("  start_date: 2023-01-15\n", "")
    [difference] = (await client.post("/configs/apply", content=old, headers=headers)).json()["changes"]
    assert difference["fields"] == [{"field": "start_date", "from": "2023-01-15", "to": None}]
