"""The middleware: request ids, security headers, rate limits, and errors."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
import structlog
from asgi_correlation_id import CorrelationIdMiddleware
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from admin_api.app import AdminApi, build_api
from admin_api.auth.assembly import assemble
from admin_api.http import request_ids
from admin_api.metrics import Metrics
from admin_api.middleware.authentication import AuthenticationMiddleware
from admin_api.middleware.rate_limits import RateLimitMiddleware
from admin_api.writes.actors import Actor, Role
from runtime.process.http_server import http_server
from support.api import BASE, TOKEN, client_of, created, stopped_clock

pytestmark = pytest.mark.postgres

PAGE = "https://tools.example.com"
SECURITY_HEADERS = {
    "cache-control",
    "content-security-policy",
    "cross-origin-resource-policy",
    "referrer-policy",
    "x-content-type-options",
    "x-frame-options",
}


async def test_a_request_id_of_the_caller_is_kept_if_it_is_valid(client: httpx.AsyncClient) -> None:
    named = await client.get("/status", headers={"X-Request-ID": "deploy-17.a"})
    assert named.headers["X-Request-ID"] == "deploy-17.a"
    for bad in ("with space", "x" * 65, "<script>", ""):
        answer = await client.get("/configs/999", headers={"X-Request-ID": bad})
        given = answer.headers["X-Request-ID"]
        assert given != bad
        assert answer.json()["request_id"] == given


async def test_requests_at_the_same_time_keep_their_own_ids(client: httpx.AsyncClient) -> None:
    ids = [f"request-{number}" for number in range(10)]
    answers = await asyncio.gather(*(client.get("/configs/999", headers={"X-Request-ID": each}) for each in ids))
    assert [answer.json()["request_id"] for answer in answers] == ids
    assert [answer.headers.get_list("X-Request-ID") for answer in answers] == [[each] for each in ids]


async def test_a_refused_request_id_adds_no_line_to_the_log(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    await client.get("/status", headers={"X-Request-ID": "with space"})
    assert [record for record in caplog.records if record.name.startswith("asgi_correlation_id")] == []


async def test_log_lines_of_a_request_contain_its_id(client: httpx.AsyncClient) -> None:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        await client.post(
            "/configs",
            json={"symbol": "BTC/USDT", "exchange": "binance", "timeframes": ["1m"]},
            headers={"X-Request-ID": "find-me"},
        )
    assert [line["request_id"] for line in lines if line["action"] == "config_created"] == ["find-me"]


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/status", {}, 200),
        ("HEAD", "/status", {}, 200),
        ("GET", "/events?seconds=1", {}, 200),
        ("HEAD", "/events", {}, 200),
        ("GET", "/configs/export", {}, 200),
        ("GET", "/configs/1", {"headers": {"If-None-Match": "*"}}, 304),
        ("GET", "/status", {"headers": {"Authorization": "Bearer wrong"}}, 401),
        ("GET", "/configs/999", {}, 404),
        ("HEAD", "/configs/999", {}, 404),
        ("GET", "/no-such-path", {}, 404),
        ("PATCH", "/status", {}, 405),
        ("OPTIONS", "/status", {}, 405),
        ("POST", "/configs", {"content": b"x" * 70_000}, 413),
        ("POST", "/configs", {"content": b"{"}, 422),
        ("GET", "/broken", {}, 500),
        ("GET", "http://api/", {}, 200),
        ("GET", "http://api/health/live", {}, 200),
        ("GET", "http://api/metrics", {}, 200),
        ("GET", "http://api/openapi.json", {}, 200),
        ("GET", "http://api/docs-and-more", {}, 404),
    ],
)
async def test_each_response_has_the_security_headers(
    api: AdminApi, client: httpx.AsyncClient, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    def broken() -> None:
        raise RuntimeError("a defect")

    api.app.router.routes.insert(0, APIRoute(f"{BASE}/broken", broken))
    await created(client)
    answer = await client.request(method, path, **options)
    headers = answer.headers
    assert answer.status_code == status, answer.text
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers.get_list("Cache-Control") == ["no-store"]
    assert "Strict-Transport-Security" not in headers
    assert "server" not in headers


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"NOT HTTP AT ALL\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000,
    ],
)
async def test_refusals_of_the_server_itself_have_the_security_headers(api: AdminApi, request_bytes: bytes) -> None:
    async with http_server(api.app, "127.0.0.1", 0) as port, httpx.AsyncClient(timeout=60) as client:
        usual = (await client.get(f"http://127.0.0.1:{port}/health/live")).headers
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_bytes)
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        writer.close()
    status, *lines = answer.decode().splitlines()
    headers = dict(line.split(": ", 1) for line in lines if line)
    assert status.startswith("HTTP/1.1 400 ")
    expected = {name: value for name, value in usual.items() if name in SECURITY_HEADERS}
    assert expected.keys() == SECURITY_HEADERS
    assert {name: value for name, value in headers.items() if name in SECURITY_HEADERS} == expected


async def test_refused_requests_are_answered_with_the_same_headers(api: AdminApi) -> None:
    async with client_of(api, token=None) as client:
        answer = await client.get("/status")
    assert (answer.status_code, answer.headers["X-Content-Type-Options"]) == (401, "nosniff")
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


async def test_responses_over_tls_have_the_hsts_header(api: AdminApi) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api.app), base_url="https://api") as client:
        assert (await client.get("/health/live")).headers["Strict-Transport-Security"] == "max-age=31536000"


class _Page(HTMLParser):
    """The scripts of a page: addresses of files, and code inside the page, which includes event handlers."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.files: list[str] = []
        self.inline: list[str] = []
        self._in_script = False
        self.feed(text)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._in_script = tag == "script"
        self.inline += [name for name, value in given.items() if name[:2] == "on" or "javascript:" in (value or "")]
        self.files += [str(given[name]) for name in ("src", "href") if name in given]

    @override
    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    @override
    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.inline.append(data)


async def test_the_documentation_page_has_no_inline_script_and_its_policy_allows_none(api: AdminApi) -> None:
    async with client_of(api, token=None, base="/") as client:
        page = await client.get("docs")
        policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
        parsed = _Page(page.text)
        files = {name: await client.get(name) for name in parsed.files}
    assert policy["script-src"] == "'self'"
    assert (policy["default-src"], policy["connect-src"]) == ("'none'", "'self'")
    assert "http" not in page.headers["Content-Security-Policy"]
    assert parsed.inline == []
    assert {name.rpartition("/")[2] for name in files} >= {"swagger-ui-bundle.js", "start.js", "swagger-ui.css"}
    for name, file in files.items():
        assert file.status_code == 200, name
        assert file.headers["Cache-Control"] == page.headers["Cache-Control"] == "no-cache"
        assert file.headers["Content-Security-Policy"] == page.headers["Content-Security-Policy"]
    assert files["docs/start.js"].headers["Content-Type"].startswith("text/javascript")


async def test_the_documentation_page_keeps_no_token_in_the_browser(api: AdminApi) -> None:
    async with client_of(api, token=None, base="/") as client:
        script = (await client.get("docs/start.js")).text
    assert "persistAuthorization: false" in script
    assert 'localStorage.removeItem("authorized")' in script, "tokens that an earlier release has kept are removed"
    assert "setItem" not in script


async def test_pages_of_other_origins_may_call_only_if_the_setting_lists_them(a_setting: Callable[..., Any]) -> None:
    preflight = {"Origin": PAGE, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "If-Match"}
    for allowed, origin, expected in (("", PAGE, None), (PAGE, PAGE, PAGE), (PAGE, "https://evil.example", None)):
        api = build_api(a_setting(cors_allowed_origins=allowed))
        async with client_of(api) as client:
            asked = await client.options("/configs/1", headers=preflight | {"Origin": origin})
            answer = await client.get("/health/live", headers={"Origin": origin})
        assert asked.headers.get("Access-Control-Allow-Origin") == expected
        assert answer.headers.get("Access-Control-Allow-Origin") == expected
        assert "Access-Control-Allow-Credentials" not in answer.headers
        await api.close()


@pytest.mark.parametrize("origin", ["*", "tools.example.com", "https://a/path", "https://"])
def test_an_invalid_origin_is_refused_at_the_start(a_setting: Callable[..., Any], origin: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        a_setting(cors_allowed_origins=origin)


async def test_a_caller_over_its_rate_limit_gets_429_with_retry_after_and_others_are_served(
    a_setting: Callable[..., Any],
) -> None:
    api = build_api(a_setting(requests_per_minute=7, triggers_per_minute=3), monotonic=stopped_clock)
    async with client_of(api) as client:
        config = await created(client)
        path = f"/configs/{config['id']}/trigger"
        triggered = [await client.post(path) for _ in range(3)]
        assert [answer.status_code for answer in triggered] == [202, 202, 429]
        refused = triggered[-1]
        assert refused.json()["type"].endswith(":too-many-requests")
        assert 1 <= int(refused.headers["Retry-After"]) <= 20
        assert refused.headers["RateLimit-Policy"] == '"triggers";q=3;w=60, "requests";q=7;w=60'
        assert refused.headers["RateLimit"].startswith('"triggers";r=0;t=')
        created_token = await client.post("/tokens", json={"name": "other", "role": "viewer"})
        statuses = [(await client.get("/status")).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
    async with client_of(api, token=created_token.json()["token"]) as other:
        answer = await other.get("/status")
        assert (answer.status_code, answer.headers["RateLimit"][:14]) == (200, '"requests";r=6')
    await api.close()


async def test_all_limits_of_the_api_follow_its_clock(a_setting: Callable[..., Any]) -> None:
    now = 0.0
    limits = {"requests_per_minute": 1, "triggers_per_minute": 1, "failed_logins_per_minute": 1}
    api = build_api(a_setting(**limits), monotonic=lambda: now)
    for token, allowed in ((TOKEN, 200), ("a-guess", 401)):
        async with client_of(api, token=token) as client:
            assert [(await client.get("/me")).status_code for _ in range(2)] == [allowed, 429]
            now += 60.0
            assert (await client.get("/me")).status_code == allowed
    await api.close()


async def test_a_used_up_rate_limit_refills_with_time() -> None:
    now = [0.0]
    statuses: list[int] = []

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def note_status(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    limited = RateLimitMiddleware(answer, requests_per_minute=2, triggers_per_minute=1, monotonic=lambda: now[0])
    actor = Actor(kind="bootstrap", name="bootstrap", role=Role.ADMIN, request_id="r")
    scope = {"type": "http", "method": "GET", "path": "/", "state": {"actor": actor}}
    for seconds in (0, 0, 0, 29, 1, 0):
        now[0] += seconds
        await limited(scope, None, note_status)  # type: ignore[arg-type]
    assert statuses == [200, 200, 429, 429, 200, 429]


async def test_failed_authentications_expire_although_the_wall_clock_was_set_back(
    api: AdminApi, a_setting: Callable[..., Any]
) -> None:
    wall, monotonic = datetime(2026, 3, 1, 12, tzinfo=UTC), 0.0
    metrics = Metrics(CollectorRegistry())

    async def unknown(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("no request may be admitted")

    auth = assemble(a_setting(failed_logins_per_minute=1), api.engine, api.reserved_engine, metrics)
    authentication = AuthenticationMiddleware(
        unknown, auth=auth, metrics=metrics, clock=lambda: wall, monotonic=lambda: monotonic
    )
    clients = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=CorrelationIdMiddleware(authentication, **request_ids.OPTIONS)),
        base_url="http://api/x",
    )
    async with clients as client:
        headers = {"Authorization": "Bearer a-guess"}
        assert [(await client.get("/", headers=headers)).status_code for _ in range(2)] == [401, 429]
        wall, monotonic = wall - timedelta(hours=1), 60.0
        assert (await client.get("/", headers=headers)).status_code == 401


async def test_an_error_after_the_start_of_a_response_closes_the_connection(api: AdminApi) -> None:
    """The client must see that the response is incomplete."""

    async def half() -> Any:
        yield b"half"
        raise RuntimeError("and no more")

    from fastapi.responses import StreamingResponse

    api.app.router.routes.insert(0, APIRoute("/half", lambda: StreamingResponse(half()), response_model=None))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with http_server(api.app, "127.0.0.1", 0) as port, httpx.AsyncClient(headers=headers, timeout=30) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://127.0.0.1:{port}/half")
