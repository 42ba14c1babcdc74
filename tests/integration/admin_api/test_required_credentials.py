"""Every path needs a credential, except those of the health, the metrics and the documentation."""

from typing import Any

import pytest

from admin_api.app import AdminApi, build_api
from admin_api.auth.required_roles import PUBLIC_PATHS
from support.api import TOKEN, assert_problem, client_of
from support.api_routes import AN_ID, every_route

pytestmark = pytest.mark.postgres


async def test_every_path_except_health_metrics_and_docs_needs_a_credential(a_setting: Any) -> None:
    api = build_api(a_setting(failed_logins_per_minute=100_000))
    guarded = [route for route in every_route(api) if route[1] not in PUBLIC_PATHS]
    assert len(guarded) >= 21
    for method, path in [*guarded, ("GET", "/api"), ("GET", "/nothing"), ("OPTIONS", "/api/v1")]:
        for authorization in (
            None,
            "",
            "Bearer",
            "Bearer ",
            "Bearer wrong-token-wrong-token-wrong",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            f"Bearer {TOKEN} {TOKEN}",
            f"Basic {TOKEN}",
            TOKEN,
            "Bearer \xe9\xe9\xe9",
        ):
            headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
            async with client_of(api, token=None, base="") as anonymous:
                url = path.format_map(AN_ID)
                answer = await anonymous.request(method, url, headers=headers, content=b"{not json")
            assert_problem(answer, 401)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    await api.close()


async def test_two_authorization_headers_are_refused(api: AdminApi) -> None:
    twice = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer other")]
    async with client_of(api, token=None) as anonymous:
        assert_problem(await anonymous.get("/configs", headers=twice), 401)


async def test_the_authorization_scheme_is_not_case_sensitive(api: AdminApi) -> None:
    async with client_of(api, token=None) as anonymous:
        assert (await anonymous.get("/configs", headers={"Authorization": f"bearer {TOKEN}"})).status_code == 200


async def test_health_metrics_and_docs_need_no_credential(api: AdminApi) -> None:
    async with client_of(api, token=None, base="") as anonymous:
        for path in PUBLIC_PATHS:
            assert (await anonymous.get(path)).status_code == 200, path
        metrics = (await anonymous.get("/metrics")).text
    assert "candlekeep_outbox_backlog 0.0" in metrics
    assert 'candlekeep_api_requests_total{method="GET",route="/health/live",status="200"}' in metrics
