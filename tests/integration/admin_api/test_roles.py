"""Each route is called with each role. A new route needs a declared role and an entry in the table."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from admin_api.app import AdminApi
from admin_api.auth.required_roles import is_public, require_declared_roles, required_role
from admin_api.writes.actors import Role
from support.api import BASE, a_token, client_of

pytestmark = pytest.mark.postgres

VIEWER, OPERATOR, ADMIN = Role

REQUIRED_ROLES: dict[tuple[str, str], Role] = {
    ("GET", "/configs"): VIEWER,
    ("POST", "/configs"): ADMIN,
    ("GET", "/configs/{config_id}"): VIEWER,
    ("PUT", "/configs/{config_id}"): ADMIN,
    ("DELETE", "/configs/{config_id}"): ADMIN,
    ("POST", "/configs/{config_id}/enable"): OPERATOR,
    ("POST", "/configs/{config_id}/disable"): OPERATOR,
    ("POST", "/configs/{config_id}/trigger"): OPERATOR,
    ("GET", "/configs/export"): VIEWER,
    ("POST", "/configs/apply"): ADMIN,
    ("POST", "/configs/preflight"): OPERATOR,
    ("POST", "/configs/bulk/create"): ADMIN,
    ("POST", "/configs/bulk/enable"): OPERATOR,
    ("POST", "/configs/bulk/disable"): OPERATOR,
    ("POST", "/configs/bulk/trigger"): OPERATOR,
    ("POST", "/configs/bulk/delete"): ADMIN,
    ("GET", "/execution-logs"): VIEWER,
    ("GET", "/execution-logs/export"): VIEWER,
    ("GET", "/execution-logs/{log_id}"): VIEWER,
    ("GET", "/stats"): VIEWER,
    ("GET", "/status"): VIEWER,
    ("GET", "/candles"): VIEWER,
    ("GET", "/candles/chart"): VIEWER,
    ("GET", "/series"): VIEWER,
    ("GET", "/coverage"): VIEWER,
    ("GET", "/completeness"): VIEWER,
    ("GET", "/rejected-candles"): VIEWER,
    ("GET", "/backfills"): VIEWER,
    ("POST", "/backfills"): OPERATOR,
    ("GET", "/backfills/{backfill_id}"): VIEWER,
    ("GET", "/backfills/{backfill_id}/series"): VIEWER,
    ("GET", "/backfills/{backfill_id}/chunks"): VIEWER,
    ("POST", "/backfills/{backfill_id}/pause"): OPERATOR,
    ("POST", "/backfills/{backfill_id}/resume"): OPERATOR,
    ("POST", "/backfills/{backfill_id}/cancel"): OPERATOR,
    ("GET", "/incidents"): VIEWER,
    ("GET", "/exchanges"): VIEWER,
    ("GET", "/exchanges/{exchange}"): VIEWER,
    ("GET", "/reports/top-symbols"): VIEWER,
    ("GET", "/reports/recent-failures"): VIEWER,
    ("GET", "/reports/exchanges"): VIEWER,
    ("GET", "/reports/config-activity"): VIEWER,
    ("GET", "/reports/config-selection"): VIEWER,
    ("GET", "/reports/exchange-use"): VIEWER,
    ("GET", "/reports/history"): VIEWER,
    ("GET", "/reports/next-losses"): VIEWER,
    ("GET", "/services"): VIEWER,
    ("GET", "/events"): VIEWER,
    ("GET", "/me"): VIEWER,
    ("POST", "/sessions"): VIEWER,
    ("DELETE", "/sessions/current"): VIEWER,
    ("GET", "/tokens"): ADMIN,
    ("POST", "/tokens"): ADMIN,
    ("DELETE", "/tokens/{token_id}"): ADMIN,
    ("POST", "/tokens/{token_id}/rotate"): ADMIN,
    ("GET", "/audit-log"): ADMIN,
}
SECURITY = Path(__file__).parents[3] / "docs/security.md"
CHANGING_ROUTES_FOR_ALL_ROLES = {("POST", "/sessions"), ("DELETE", "/sessions/current")}


def served(api: AdminApi) -> Iterator[tuple[str, APIRoute]]:
    for route in api.routes:
        if not is_public(route.path):
            yield from ((method, route) for method in sorted(route.methods))


def test_each_route_has_an_entry_and_declares_its_role(api: AdminApi) -> None:
    declared = {(method, route.path.removeprefix(BASE)): required_role(route) for method, route in served(api)}
    assert declared == REQUIRED_ROLES


def test_the_tested_routes_are_all_routes_of_the_application(api: AdminApi) -> None:
    described = {
        (method.upper(), path)
        for path, item in api.app.openapi()["paths"].items()
        if not is_public(path)
        for method in item
    }
    assert described == {(method, route.path) for method, route in served(api)}


def test_the_documentation_has_the_same_table() -> None:
    rows = SECURITY.read_text().splitlines()
    missing = [
        row
        for (method, path), role in REQUIRED_ROLES.items()
        if (row := f"| {method} | `{path}` | {role} |") not in rows
    ]
    assert not missing, f"add to docs/security.md: {missing}"


def test_viewers_cannot_change_anything() -> None:
    changing = {route for route, least in REQUIRED_ROLES.items() if route[0] != "GET" and least is VIEWER}
    assert changing <= CHANGING_ROUTES_FOR_ALL_ROLES


def test_an_application_with_a_route_that_declares_no_role_is_not_built() -> None:
    router = APIRouter(prefix=BASE)
    router.add_api_route("/open", lambda: None)
    with pytest.raises(TypeError, match=f"{BASE}/open"):
        require_declared_roles(router.routes)


@pytest.mark.parametrize("role", Role)
async def test_each_role_may_call_exactly_the_routes_of_the_table(
    api: AdminApi, client: httpx.AsyncClient, role: Role
) -> None:
    token = (await a_token(client, role))["token"]
    async with client_of(api, token) as caller:
        for (method, path), least in REQUIRED_ROLES.items():
            # The id and the parameter do not exist and there is no body, so an admitted request changes nothing.
            answer = await caller.request(method, re.sub(r"{\w+}", "0", path), params={"nonsense": 1})
            assert (answer.status_code != 403) == role.includes(least), (method, path, answer.text)
            assert answer.status_code not in {401, 500}, (method, path)
            if answer.status_code == 403:
                assert answer.json()["type"] == "urn:candlekeep:problem:forbidden"
