"""Export and apply of manifests: the shown difference equals the change, and mistakes are refused."""

import asyncio
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import yaml

from admin_api.app import AdminApi
from store.tables import audit_log, configs, outbox
from support.api import a_config, created

pytestmark = pytest.mark.postgres

AS_YAML = {"Content-Type": "application/yaml"}


async def export(client: httpx.AsyncClient) -> str:
    response = await client.get("/configs/export")
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/yaml")
    return response.text


async def apply(client: httpx.AsyncClient, text: str, **options: Any) -> dict[str, Any]:
    response = await client.post("/configs/apply", content=text, headers=AS_YAML, params=options)
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()
    return result


def a_manifest(*entries: dict[str, Any]) -> str:
    return yaml.safe_dump({"configs": list(entries)})


def counts(result: dict[str, Any]) -> tuple[int, ...]:
    return tuple(result["summary"][name] for name in ("added", "changed", "removed", "unchanged", "not_in_file"))


async def rows(api: AdminApi) -> tuple[int, ...]:
    async with api.engine.connect() as connection:
        found = [
            await connection.scalar(sa.select(sa.func.count()).select_from(table))
            for table in (configs, outbox, audit_log)
        ]
    return tuple(count or 0 for count in found)


async def test_an_exported_manifest_changes_nothing_when_it_is_applied(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    await created(client, description="yes: 'no' # \u5e01", timeframes=["1h", "1m"])
    await created(client, timeframes=["1d"], enabled=False, interval_minutes=1440)
    await created(client, exchange="kraken", symbol="ETH/USDT")
    before, text = await rows(api), await export(client)
    for options in ({}, {"remove": True}, {"remove": True, "dry_run": True}):
        result = await apply(client, text, **options)
        assert (counts(result), result["changes"], result["confirmation_needed"]) == ((0, 0, 0, 3, 0), [], None)
    assert await rows(api) == before
    assert await export(client) == text


async def test_json_is_equivalent_to_yaml(client: httpx.AsyncClient) -> None:
    await created(client)
    by_accept = await client.get("/configs/export", headers={"Accept": "application/json"})
    assert by_accept.headers["Content-Type"] == "application/json"
    assert by_accept.json() == yaml.safe_load(await export(client))
    assert (await client.get("/configs/export", params={"format": "json"})).json() == by_accept.json()
    as_yaml = await client.get("/configs/export", params={"format": "yaml"}, headers={"Accept": "application/json"})
    assert as_yaml.text == await export(client)
    response = await client.post("/configs/apply", json=by_accept.json())
    assert counts(response.json()) == (0, 0, 0, 1, 0)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/yaml"),
        ("application/json, text/plain, */*", "application/json"),
        ("application/json, application/yaml;q=0.9", "application/json"),
        ("application/json;q=0.1, application/yaml", "application/yaml"),
        ("application/json;q=0.5, text/yaml", "application/yaml"),
        ("application/json;q=0", "application/yaml"),
        ("application/jsonlines", "application/yaml"),
    ],
)
async def test_the_accept_header_decides_between_yaml_and_json(
    client: httpx.AsyncClient, accept: str, kind: str
) -> None:
    response = await client.get("/configs/export", headers={"Accept": accept})
    assert (response.status_code, response.headers["Content-Type"]) == (200, kind)
    assert response.headers["Vary"] == "Accept", "a cache must not response JSON to a caller that wants YAML"


async def test_a_manifest_adds_changes_and_removes_the_configs_that_the_dry_run_shows(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    changed = await created(client, timeframes=["1m", "5m"])
    removed = await created(client, symbol="OLD/USDT")
    unchanged = [await created(client, symbol=f"{name}/USDT") for name in "AB"]
    text = a_manifest(
        *(a_config(symbol=each["symbol"]) for each in unchanged),
        a_config(timeframes=["5m", "1h"], interval_minutes=30),
        a_config(symbol="NEW/USDT", enabled=False),
    )
    before = await rows(api)
    shown = await apply(client, text, remove=True, dry_run=True)
    assert await rows(api) == before
    assert counts(shown) == (1, 1, 1, 2, 1)
    assert [(each["action"], each["config_id"]) for each in shown["changes"]] == [
        ("add", None),
        ("change", changed["id"]),
        ("remove", removed["id"]),
    ]
    assert shown["changes"][1]["fields"] == [
        {"field": "interval_minutes", "from": 10, "to": 30},
        {"field": "timeframes", "from": ["1m", "5m"], "to": ["5m", "1h"]},
    ]
    assert {"field": "enabled", "from": None, "to": False} in shown["changes"][0]["fields"]
    done = await apply(client, text, remove=True)
    new_id = done["changes"][0]["config_id"]
    assert done == shown | {"dry_run": False, "changes": done["changes"]}
    assert done["changes"][1:] == shown["changes"][1:]
    assert await rows(api) == (4, before[1] + 4, before[2] + 3)
    after = (await client.get(f"/configs/{changed['id']}")).json()
    assert (after["timeframes"], after["interval_minutes"], after["version"]) == (["5m", "1h"], 30, 2)
    assert (await client.get(f"/configs/{new_id}")).json()["enabled"] is False
    assert (await client.get(f"/configs/{removed['id']}")).status_code == 404
    assert counts(await apply(client, text, remove=True)) == (0, 0, 0, 4, 0)


async def test_without_remove_configs_that_are_not_in_the_file_stay_and_are_listed(client: httpx.AsyncClient) -> None:
    other = await created(client, symbol="OTHER/USDT")
    result = await apply(client, a_manifest(a_config()))
    assert counts(result) == (1, 0, 0, 0, 1)
    assert [(each["action"], each["config_id"]) for each in result["changes"]][1] == ("keep", other["id"])
    assert len((await client.get("/configs")).json()) == 2


async def test_configs_that_are_not_in_the_file_keep_their_timeframes(api: AdminApi, client: httpx.AsyncClient) -> None:
    await created(client, timeframes=["1m"])
    other = await created(client, timeframes=["5m"])
    text = "# a comment\n" + a_manifest(a_config(timeframes=["1m", "5m"]))
    before = await rows(api)
    for options in ({}, {"dry_run": True}):
        refused = await client.post("/configs/apply", content=text, headers=AS_YAML, params=options)
        assert (refused.status_code, refused.json()["config_id"]) == (409, other["id"])
        assert "configs[0] (line 3)" in refused.json()["detail"]
    assert await rows(api) == before
    assert counts(await apply(client, text, remove=True, confirm_removals=1)) == (0, 1, 1, 0, 1)


async def test_configs_may_swap_their_timeframes(client: httpx.AsyncClient) -> None:
    await created(client, timeframes=["1m", "5m", "1h"], interval_minutes=5)
    await created(client, timeframes=["4h", "1d", "1w"], interval_minutes=60)
    swapped = [
        a_config(timeframes=["1m", "5m", "1d"], interval_minutes=5),
        a_config(timeframes=["4h", "1h", "1w"], interval_minutes=60),
    ]
    assert counts(await apply(client, a_manifest(*swapped))) == (0, 2, 0, 0, 0)
    assert [each["timeframes"] for each in (await client.get("/configs")).json()] == [
        ["1m", "5m", "1d"],
        ["4h", "1h", "1w"],
    ]


async def test_removing_more_than_half_requires_the_exact_number(api: AdminApi, client: httpx.AsyncClient) -> None:
    for name in "ABCD":
        await created(client, symbol=f"{name}/USDT")
    half = a_manifest(a_config(symbol="A/USDT"), a_config(symbol="B/USDT"))
    assert (await apply(client, half, remove=True, dry_run=True))["confirmation_needed"] is None
    one = a_manifest(a_config(symbol="A/USDT"))
    assert (await apply(client, one, remove=True, dry_run=True))["confirmation_needed"] == 3
    before = await rows(api)
    for wrong in ({}, {"confirm_removals": 2}, {"confirm_removals": 0}):
        refused = await client.post("/configs/apply", content=one, headers=AS_YAML, params={"remove": True, **wrong})
        assert (refused.status_code, refused.json()["removals"], refused.json()["total"]) == (409, 3, 4)
        assert "confirm_removals=3" in refused.json()["detail"]
    wrong = await client.post(
        "/configs/apply", content=half, headers=AS_YAML, params={"remove": True, "confirm_removals": 1}
    )
    assert wrong.status_code == 409
    assert await rows(api) == before
    assert counts(await apply(client, one, remove=True, confirm_removals=3)) == (0, 0, 3, 1, 3)


async def test_one_bad_entry_refuses_the_whole_file_and_its_line_is_reported(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    text = a_manifest(
        a_config(), a_config(symbol="A/USDT", exchange="binanse"), a_config(symbol="B/USDT", timeframes=["7m"])
    )
    for options in ({}, {"dry_run": True}):
        refused = await client.post("/configs/apply", content=text, headers=AS_YAML, params=options)
        assert refused.status_code == 422
        errors = {error["pointer"]: error["detail"] for error in refused.json()["errors"]}
        assert "configs[1] (line 8): 'binanse' is not" in errors["#/configs/1/exchange"]
        assert "binance has no '7m' candles" in errors["#/configs/2/timeframes/0"]
    assert await rows(api) == (0, 0, 0)


async def test_a_config_may_stay_although_its_exchange_is_no_longer_offered(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    await created(client)
    async with api.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE data_collection_configs SET exchange = 'gone'")
        await connection.exec_driver_sql("UPDATE config_timeframes SET exchange = 'gone'")
    text = await export(client)
    assert counts(await apply(client, text.replace("interval_minutes: 10", "interval_minutes: 20"))) == (0, 1, 0, 0, 0)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        ("", "application/yaml", 422),
        ("a: &a [1]\nb: *a", "application/yaml", 422),
        ("configs: " + "[" * 60_000, "application/yaml", 422),
        ("[" * 60_000, "application/json", 422),
        ("{", "application/json", 422),
        ("configs: []", "text/plain", 415),
        ("configs: []", "", 415),
        ("#" * (4 * 1024 * 1024 + 1), "application/yaml", 413),
    ],
)
async def test_a_bad_body_is_a_problem(client: httpx.AsyncClient, content: str, kind: str, status: int) -> None:
    response = await client.post("/configs/apply", content=content, headers={"Content-Type": kind})
    assert (response.status_code, response.headers["Content-Type"]) == (status, "application/problem+json")


async def test_unknown_options_are_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/configs/export", params={"fromat": "json"})).status_code == 422
    assert (await client.get("/configs/export", params={"format": "xml"})).status_code == 422
    refused = await client.post("/configs/apply", content="configs: []", headers=AS_YAML, params={"dryrun": True})
    assert refused.status_code == 422


@pytest.mark.parametrize(("method", "path", "allowed"), [("PUT", "export", "GET, HEAD"), ("GET", "apply", "POST")])
async def test_export_and_apply_are_not_config_ids(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    response = await client.request(method, f"/configs/{path}")
    assert (response.status_code, response.headers["Allow"]) == (405, allowed)


async def test_an_idempotency_key_applies_a_file_once_and_other_options_are_another_request(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    request: dict[str, Any] = {"content": a_manifest(a_config()), "headers": {**AS_YAML, "Idempotency-Key": "file-1"}}
    first, again = [await client.post("/configs/apply", **request) for _ in range(2)]
    assert again.content == first.content
    assert (await client.post("/configs/apply", params={"dry_run": True}, **request)).status_code == 422
    assert (await rows(api))[0] == 1


async def test_concurrent_files_and_single_changes_leave_the_state_of_one_file(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    config = await created(client)
    files = [a_manifest(*(a_config(symbol=f"{name}/USDT") for name in names)) for names in ("ABC", "CDE")]
    several = [
        client.post(
            "/configs/apply", content=text, headers=AS_YAML, params={"remove": True, "confirm_removals": removals}
        )
        for text, removals in ((files[0], 1), (files[1], 1), (files[0], 2), (files[1], 2))
    ]
    single = [client.put(f"/configs/{config['id']}", json={"interval_minutes": 20 + n}) for n in range(6)]
    responses = await asyncio.gather(*several, *single)
    assert {response.status_code for response in responses} <= {200, 404, 409}
    symbols = {each["symbol"] for each in (await client.get("/configs")).json()}
    assert symbols in ({"A/USDT", "B/USDT", "C/USDT"}, {"C/USDT", "D/USDT", "E/USDT"})


async def test_thousands_of_configs_are_exported_and_applied(client: httpx.AsyncClient) -> None:
    many = [a_config(symbol=f"C{n}/USDT", timeframes=["1m", "5m", "1h"]) for n in range(2500)]
    assert (await client.post("/configs/apply", json={"configs": many})).json()["summary"]["added"] == 2500
    text = await export(client)
    assert counts(await apply(client, text, dry_run=True)) == (0, 0, 0, 2500, 0)
    assert counts(await apply(client, text.replace("minutes: 10", "minutes: 20"))) == (0, 2500, 0, 0, 0)
    assert counts(await apply(client, a_manifest(many[0]), remove=True, confirm_removals=2499))[2] == 2499
