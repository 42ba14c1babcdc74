"""The built dashboard: which requests get it, its headers, and sign-in links."""

import gzip
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from admin_api.app import AdminApi, build_api
from admin_api.auth.sign_in_links import VALID_FOR, new_code
from support.api import BASE, TOKEN, client_of

pytestmark = pytest.mark.postgres

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
SCRIPT = "/assets/index-4f2a.js"


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build of the dashboard."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text('<meta nonce="CSP_NONCE"><script src="/assets/index-4f2a.js"></script>')
    (tmp_path / "assets/index-4f2a.js").write_text("start();")
    (tmp_path / "assets/notes.txt").write_text("not a file of the dashboard")
    (tmp_path / ".built-from").write_text("a digest")
    return tmp_path


@pytest.fixture
async def api(a_setting: Any, build: Path) -> AsyncIterator[AdminApi]:
    api = build_api(a_setting(dashboard_folder=build))
    yield api
    await api.close()


@pytest.fixture
async def anonymous(api: AdminApi) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(api, token=None, base="") as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/runs", "/runs/17", "/sign-in", "/no/such/page", "/docs-and-more"])
async def test_a_browser_gets_the_page_and_a_program_does_not(anonymous: httpx.AsyncClient, path: str) -> None:
    page = await anonymous.get(path, headers=BROWSER)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "/assets/index-4f2a.js" in page.text
    assert page.headers["vary"] == "Accept"
    program = await anonymous.get(path)
    assert "/assets/" not in program.text
    if path != "/":
        assert program.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", [f"{BASE}/status", f"{BASE}/nothing", "/api/v2", "/docs", "/health/live", "/metrics"])
async def test_paths_of_the_api_never_get_the_page(anonymous: httpx.AsyncClient, path: str) -> None:
    assert "/assets/index-4f2a.js" not in (await anonymous.get(path, headers=BROWSER)).text


async def test_the_policy_allows_no_inline_script_and_only_styles_with_the_nonce_of_the_response(
    anonymous: httpx.AsyncClient,
) -> None:
    pages = [await anonymous.get("/", headers=BROWSER) for _ in range(2)]
    nonces = [page.text.partition('nonce="')[2].partition('"')[0] for page in pages]
    assert nonces[0] != nonces[1]
    for page, nonce in zip(pages, nonces, strict=True):
        policy = page.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert f"style-src 'self' 'nonce-{nonce}';" in policy
        assert "unsafe" not in policy
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-frame-options"] == "DENY"


async def test_files_are_stored_by_the_browser_forever_and_can_be_compressed(anonymous: httpx.AsyncClient) -> None:
    plain = await anonymous.get(SCRIPT, headers={"Accept-Encoding": "identity"})
    assert (plain.text, plain.headers["content-type"]) == ("start();", "text/javascript; charset=utf-8")
    assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert plain.headers["x-content-type-options"] == "nosniff"
    async with anonymous.stream("GET", SCRIPT, headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert (answer.headers["content-encoding"], gzip.decompress(raw)) == ("gzip", b"start();")


@pytest.mark.parametrize(
    "path", ["/assets/notes.txt", "/assets/../index.html", "/assets/%2e%2e/.built-from", "/assets/"]
)
async def test_no_other_file_is_served(anonymous: httpx.AsyncClient, path: str) -> None:
    for headers in (BROWSER, {}):
        answer = await anonymous.get(path, headers=headers)
        assert "a digest" not in answer.text
        assert "not a file" not in answer.text


async def test_head_has_the_headers_and_no_body(anonymous: httpx.AsyncClient) -> None:
    for path in ("/runs", SCRIPT):
        got, head = await anonymous.get(path, headers=BROWSER), await anonymous.head(path, headers=BROWSER)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == got.headers["content-length"]
        assert head.headers["cache-control"] == got.headers["cache-control"]


async def test_a_new_build_is_served_without_a_restart_and_no_build_leaves_the_api(
    anonymous: httpx.AsyncClient, build: Path
) -> None:
    await anonymous.get("/", headers=BROWSER)
    (build / "index.html").write_text("the next build")
    os.utime(build / "index.html", ns=(1, 1))
    assert (await anonymous.get("/", headers=BROWSER)).text == "the next build"
    (build / "index.html").unlink()
    assert "This address serves an API" in (await anonymous.get("/", headers=BROWSER)).text
    assert (await anonymous.get("/runs", headers=BROWSER)).headers["content-type"] == "application/problem+json"


async def test_a_sign_in_link_opens_one_session(api: AdminApi) -> None:
    code = new_code(TOKEN, datetime.now(UTC))
    async with client_of(api, code) as client:
        first = await client.post("/sessions")
        second = await client.post("/sessions")
    assert (first.status_code, first.json()["role"]) == (201, "admin")
    assert second.status_code == 401
    assert "was used before" in second.json()["detail"]
    cookie = first.headers["set-cookie"].partition(";")[0]
    async with client_of(api, token=None) as client:
        assert (await client.get("/me", headers={"Cookie": cookie})).json()["kind"] == "session"


async def test_a_link_that_was_used_stays_used_after_the_session_is_closed(api: AdminApi) -> None:
    code = new_code(TOKEN, datetime.now(UTC))
    async with client_of(api, code) as client:
        cookie = (await client.post("/sessions")).headers["set-cookie"].partition(";")[0]
    csrf = {"X-CSRF-Protection": "1", "Sec-Fetch-Site": "same-origin", "Cookie": cookie}
    async with client_of(api, token=None) as client:
        assert (await client.delete("/sessions/current", headers=csrf)).status_code == 204
    async with client_of(api, code) as client:
        assert (await client.post("/sessions")).status_code == 401


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (new_code(TOKEN, datetime.now(UTC) - VALID_FOR - timedelta(seconds=1)), "has expired"),
        (new_code("another-bootstrap-token-of-24", datetime.now(UTC)), "not one of this API"),
        (new_code(TOKEN, datetime.now(UTC))[:-3], "not one of this API"),
        ("ckl_", "not one of this API"),
    ],
    ids=["expired", "forged", "cut", "empty"],
)
async def test_an_invalid_link_is_refused_with_the_reason(api: AdminApi, code: str, reason: str) -> None:
    async with client_of(api, code) as client:
        refused = await client.post("/sessions")
    assert refused.status_code == 401
    assert reason in refused.json()["detail"]


async def test_the_code_of_a_link_gives_no_other_access(api: AdminApi) -> None:
    async with client_of(api, new_code(TOKEN, datetime.now(UTC))) as client:
        for answer in (await client.get("/me"), await client.get("/sessions"), await client.post("/configs")):
            assert answer.status_code == 403
            assert "can only open a session" in answer.json()["detail"]
