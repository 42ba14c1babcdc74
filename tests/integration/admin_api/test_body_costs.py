"""The cost of bodies: none is read before the role is known, and a large one is parsed in a thread."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from admin_api.app import AdminApi
from admin_api.auth.required_roles import is_public, required_role
from admin_api.routes import api_route
from admin_api.writes.actors import Role
from runtime.process.http_server import http_server
from support.api import BASE, a_config, a_token, client_of

pytestmark = pytest.mark.postgres


MIB = 1024 * 1024
WITH_JSON = [
    ("POST", "/configs"),
    ("PUT", "/configs/1"),
    ("POST", "/configs/bulk/create"),
    ("POST", "/configs/bulk/enable"),
    ("POST", "/configs/bulk/disable"),
    ("POST", "/configs/bulk/trigger"),
    ("POST", "/configs/bulk/delete"),
    ("POST", "/configs/apply"),
    ("POST", "/configs/preflight"),
    ("POST", "/backfills"),
    ("POST", "/tokens"),
    ("POST", "/tokens/1/rotate"),
]


def routes_above(role: Role, api: AdminApi) -> list[tuple[str, str]]:
    found = []
    for route in api.routes:
        assert isinstance(route, APIRoute)
        required = required_role(route)
        if not is_public(route.path) and required is not None and not role.includes(required):
            found += [(method, route.path) for method in route.methods]
    return found


async def test_no_body_is_read_before_the_role_is_checked(api: AdminApi, client: httpx.AsyncClient) -> None:
    read: list[tuple[str, str]] = []

    async def body(route: tuple[str, str]) -> AsyncIterator[bytes]:
        read.append(route)
        yield b"{" * MIB

    for role, number in ((Role.VIEWER, 16), (Role.OPERATOR, 10)):
        refused = routes_above(role, api)
        assert len(refused) >= number
        async with client_of(api, (await a_token(client, role))["token"], base="") as caller:
            for method, path in refused:
                answer = await caller.request(
                    method,
                    path.format(config_id=1, token_id=1, backfill_id=1),
                    content=body((method, path)),
                    headers={"Content-Type": "application/json"},
                )
                assert answer.status_code == 403, (method, path)
    assert read == []


async def test_ten_bodies_of_four_megabytes_of_a_viewer_cost_almost_nothing(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    viewer = {"Authorization": f"Bearer {(await a_token(client, 'viewer'))['token']}"}
    hostile = b'{"configs": [' + b"[]," * (MIB * 4 // 3 - 20) + b"[]]}"
    async with (
        http_server(api.app, "127.0.0.1", 0) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}{BASE}", headers=viewer, timeout=60) as caller,
    ):
        began = time.process_time()
        sent = [
            caller.post(f"/configs/{path}", content=hostile, headers={"Content-Type": "application/json"})
            for path in ("bulk/create", "apply")
            for _ in range(5)
        ]
        answers = await asyncio.gather(*sent)
        # The client and the server are in this process. To parse one of these bodies takes half a second.
        assert time.process_time() - began < 2.0
    assert [answer.status_code for answer in answers] == [403] * 10


async def test_a_large_body_is_parsed_in_a_thread(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    parse = api_route.parse_json

    def noted(text: bytes) -> Any:
        threads.append(threading.get_ident())
        return parse(text)

    monkeypatch.setattr(api_route, "parse_json", noted)
    large = {"configs": [a_config(symbol=f"C{number}/USDT", description="x" * 400) for number in range(500)]}
    assert (await client.post("/configs/bulk/create", json={**large, "dry_run": True})).status_code == 200
    assert (await client.post("/configs", json=a_config())).status_code == 201
    in_a_thread, in_the_loop = threads
    assert in_a_thread != threading.get_ident() == in_the_loop


@pytest.mark.parametrize(("method", "path"), WITH_JSON)
async def test_a_name_that_occurs_twice_is_refused_on_every_route(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    for body in ('{"role": "viewer", "role": "admin"}', '{"configs": [{"symbol": "A/B", "symbol": "C/D"}]}'):
        answer = await client.request(method, path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422
        assert "twice" in answer.json()["detail"]


def test_the_routes_with_a_json_body_are_all_in_the_list(api: AdminApi) -> None:
    described = {
        (method.upper(), path.removeprefix(BASE).replace("{config_id}", "1").replace("{token_id}", "1"))
        for path, item in api.app.openapi()["paths"].items()
        for method, operation in item.items()
        if "requestBody" in operation
    }
    assert described == set(WITH_JSON)
