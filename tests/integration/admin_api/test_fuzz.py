"""No request breaks the API, and malformed requests change nothing except the audit log."""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
import structlog

from admin_api.app import AdminApi, build_api
from runtime.process.http_server import http_server
from store.tables import metadata
from support.api import BASE, TOKEN, a_token, client_of, created
from support.depth import tries
from support.identity_provider import AUDIENCE, ISSUER, a_jwt, a_key, key_server
from support.malformed import Malformed, Raw

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(1800)]

PARTS = tries(1, deep=4)
"""Two test processes share the parts."""
REQUESTS = int(os.environ.get("FUZZ_REQUESTS") or tries(5_000, deep=40_000)) // PARTS
SEED = int(os.environ.get("FUZZ_SEED", "20261122"))
CHANGED_BY_REFUSALS = {"audit_log"}
"""Tables in which refused requests may add rows. The number of rows is limited per address."""
KEY = a_key()


@pytest.fixture
async def api(a_setting: Any) -> AsyncIterator[AdminApi]:
    async with key_server(KEY) as provider:
        api = build_api(
            a_setting(
                requests_per_minute=10**9,
                triggers_per_minute=10**9,
                failed_logins_per_minute=100_000,
                oidc_issuer=ISSUER,
                oidc_audience=AUDIENCE,
                oidc_jwks_url=provider.url,
                oidc_role_map={"markets-operators": "operator"},
            )
        )
        await api.feed.stop()  # otherwise an event stream would last for minutes
        yield api
        await api.close()


async def respond(api: AdminApi, raw: Raw) -> tuple[int, dict[bytes, bytes], bytes]:
    """Sends the request to the application as a server would. Returns status, headers and body."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
        "method": raw.method,
        "path": raw.path.decode("utf-8", "replace"),
        "raw_path": raw.path,
        "query_string": raw.query,
        "headers": [(b"host", b"api"), *raw.headers],
        "client": ("192.0.2.1", 5),
        "server": ("api", 80),
        "state": {},
    }
    sent: list[Any] = []
    received = iter([{"type": "http.request", "body": raw.body, "more_body": False}])

    async def receive() -> Any:
        return next(received, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        sent.append(message)

    await api.app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(each.get("body", b"") for each in sent[1:])


async def rows(api: AdminApi) -> dict[str, int]:
    """The number of rows of each table."""
    async with api.engine.connect() as connection:
        return {
            name: await connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for name, table in metadata.tables.items()
        }


async def invalid_credentials(api: AdminApi) -> list[str]:
    """Two revoked tokens, and JWTs with one error each."""
    async with client_of(api) as admin:
        revoked, another = await a_token(admin, "admin"), await a_token(admin, "viewer")
        for each in (revoked, another):
            assert (await admin.delete(f"/tokens/{each['id']}")).status_code == 204
    return [revoked["token"], another["token"], a_jwt(KEY, exp=1), a_jwt(KEY, aud="another"), a_jwt(a_key("first"))]


def faults_of(raw: Raw, status: int, headers: dict[bytes, bytes], body: bytes) -> list[str]:
    """The faults of a response to a malformed request."""
    refused = status >= 400
    faults = {
        "a 5xx": status >= 500,
        "a stack trace": b"Traceback" in body,
        "the request was executed": not refused and raw.method not in {"GET", "HEAD", "OPTIONS"},
        "not a problem document": refused and body and headers[b"content-type"] != b"application/problem+json",
        "different status in the body": refused and body and json.loads(body)["status"] != status,
    }
    return [fault for fault, found in faults.items() if found]


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(SEED, SEED + PARTS))
async def test_malformed_requests_are_refused_as_problems_and_change_nothing(api: AdminApi, seed: int) -> None:
    async with client_of(api) as admin:
        assert (await created(admin))["id"] == 1
        malformed = Malformed(seed, await invalid_credentials(api))
        before, started_at, statuses = await rows(api), time.monotonic(), Counter[int]()
        with structlog.testing.capture_logs() as lines:
            for number in range(REQUESTS):
                raw = malformed.request()
                try:
                    status, headers, body = await respond(api, raw)
                except Exception as error:
                    raise AssertionError(f"request {number} of FUZZ_SEED={seed}: {raw}") from error
                statuses[status] += 1
                faults = faults_of(raw, status, headers, body)
                assert not faults, (faults, f"request {number} of FUZZ_SEED={seed}: {raw}", status, body)
        seconds = time.monotonic() - started_at
        print(f"FUZZ_SEED={seed}: {REQUESTS} requests in {seconds:.1f} s: {dict(sorted(statuses.items()))}")

        assert [line for line in lines if "exc_info" in line or line["log_level"] in {"error", "critical"}] == []
        after = await rows(api)
        assert {name: count for name, count in after.items() if count != before[name]}.keys() <= CHANGED_BY_REFUSALS
        assert api.event_streams.count == 0
        assert (await admin.get("/configs/1")).json()["version"] == 1
        assert (await admin.get("http://api/health/ready")).status_code == 200


GET = f"GET {BASE}/configs HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
POST = GET.replace(b"GET", b"POST")


@pytest.mark.parametrize(
    "message",
    [
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 300,
        b"GET\r\n\r\n",
        b"GET /api HTTP/9.9\r\n\r\n",
        GET + b"A: " + b"x" * 200_000 + b"\r\n\r\n",
        GET + b"no colon\r\n\r\n",
        GET + b"A: \x00\r\n\r\n",
        GET + b" : x\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n{}",
        POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n{}",
        POST + b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
        POST + b"Transfer-Encoding: gzip\r\n\r\n{}",
    ],
    ids=range(15),
)
async def test_the_server_refuses_messages_that_are_not_http(api: AdminApi, message: bytes) -> None:
    before = await rows(api)
    async with http_server(api.app, "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(message)
        writer.write_eof()
        response = await asyncio.wait_for(reader.read(100_000), 10)
        writer.close()
    assert response == b"" or response.startswith(b"HTTP/1.1 4"), response
    assert b"Traceback" not in response
    assert (await rows(api)).keys() == before.keys()
    assert {name for name, count in (await rows(api)).items() if count != before[name]} <= CHANGED_BY_REFUSALS
