"""A page of another site cannot control the simulator of a developer's machine through the browser."""

from typing import Any

import pytest

from exchange_simulator import SimulatorSettings
from exchange_simulator.app import build_app

REFUSED = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://127.0.0.1.evil.example:{port}"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "unheard-of"},
    # DNS rebinding: for the browser, the page and the simulator have the same origin.
    {"Host": "evil.example:{port}", "Origin": "http://evil.example:{port}", "Sec-Fetch-Site": "same-origin"},
    {"Host": "evil.example:{port}"},
    {"Host": "localhost.evil.example:{port}"},
    {"Host": "127.0.0.1.nip.example:{port}"},
    {"Host": "127.0.0.1:{port}@evil.example"},
    {"Host": "[evil.example"},
    {"Host": ""},
]
ACCEPTED = [
    {},
    {"Host": "localhost:{port}"},
    {"Host": "LOCALHOST:{port}", "Origin": "http://localhost:{port}"},
    {"Host": "[::1]:{port}"},
    {"Host": "192.168.1.5"},
    {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
]


def filled(headers: dict[str, str], base: str) -> dict[str, str]:
    return {name: value.replace("{port}", base.rpartition(":")[2]) for name, value in headers.items()}


async def status(served: Any, method: str, path: str, headers: dict[str, str]) -> int:
    sent = filled(headers, served.base)
    async with served.http.request(method, served.base + path, json={"kind": "ban"}, headers=sent) as response:
        if response.status == 403:
            assert (await response.json())["error"]
        return int(response.status)


@pytest.mark.parametrize("headers", REFUSED, ids=str)
async def test_a_page_of_another_site_cannot_change_or_read_anything(served: Any, headers: dict[str, str]) -> None:
    assert await status(served, "POST", "/control/moods", headers) == 403
    assert await status(served, "GET", "/control/requests", headers) == 403
    assert await served.get("/control/moods") == []


@pytest.mark.parametrize("headers", ACCEPTED, ids=str)
async def test_programs_and_the_own_pages_of_the_simulator_are_accepted(served: Any, headers: dict[str, str]) -> None:
    assert await status(served, "POST", "/control/moods", headers) == 201


async def test_a_simulator_with_a_name_is_reached_by_this_name(serve: Any) -> None:
    served = await serve(SimulatorSettings(host="localhost"))
    assert await status(served, "POST", "/control/moods", {}) == 201


async def test_every_control_route_refuses_other_pages(served: Any) -> None:
    routes = {
        (route.method, route.resource.canonical)
        for route in build_app(SimulatorSettings()).router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/control") and route.method != "HEAD"
    }
    assert len(routes) > 10
    for method, path in routes:
        origin = {"Origin": "https://evil.example"}
        assert await status(served, method, path.replace("{id}", "1"), origin) == 403, (method, path)
