"""An unforeseen exception in any function of the API writes no part of a credential to the log, in either format."""

import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa

import admin_api
from admin_api.app import AdminApi, build_api
from runtime.logs import log
from runtime.process.http_server import http_server
from support.api import BASE, TOKEN, a_config, a_token
from support.identity_provider import AUDIENCE, ISSUER, a_jwt, a_key, key_server
from support.log_text import log_text

pytestmark = pytest.mark.postgres

KEY = a_key()
OWN_PAGE = {"X-CSRF-Protection": "1", "Sec-Fetch-Site": "same-origin"}
LAYERS = {
    "middleware/unexpected_errors", "middleware/authentication", "middleware/rate_limits", "middleware/body_limit",
    "auth/authenticator", "auth/token_format", "auth/token_lookup", "auth/sessions", "auth/cookies", "auth/csrf",
    "auth/oidc", "auth/jwks", "auth/credential_use", "auth/tokens", "routes/sessions", "routes/tokens",
    "routes/writes", "writes/idempotency", "writes/audit_log", "writes/transactions",
}  # fmt: skip
"""Modules whose functions hold a credential, or are called while a caller of them holds one."""
FOLDER = admin_api.__path__[0]
_PART_LENGTH = 12


class UnforeseenError(Exception):
    pass


class Tracer:
    """Records the functions of admin_api that are called, and raises an exception at the first call of one of them."""

    def __init__(self, failing: CodeType | None = None) -> None:
        self._failing = failing
        self.functions: dict[CodeType, None] = {}
        self.failed = False

    def trace(self, frame: FrameType, event: str, _argument: object) -> None:
        if event != "call" or not frame.f_code.co_filename.startswith(FOLDER):
            return
        self.functions[frame.f_code] = None
        if frame.f_code is self._failing:  # Python removes a trace function that raises
            self.failed = True
            raise UnforeseenError("not foreseen")


@dataclass
class Attacked:
    """A served API, and the credentials that were sent to it."""

    client: httpx.AsyncClient
    credentials: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    failed: set[tuple[str, CodeType]] = field(default_factory=set)

    async def token(self) -> tuple[int, str]:
        made = await a_token(self.client, "admin", name=uuid4().hex)
        self.credentials.add(made["token"].removeprefix("ck_")[13:])  # the beginning of a token is not secret
        return made["id"], made["token"]

    async def cookie(self) -> str:
        answer = await self.client.post("/sessions")
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        self.credentials.add(cookie.partition("=")[2])
        self.client.cookies.clear()
        return cookie

    def jwt(self) -> str:
        made = a_jwt(KEY, roles=["admins"])
        self.credentials.add(made)
        return made

    async def fail_everywhere(self, kind: str, build: Callable[[], Awaitable[httpx.Request]]) -> int:
        """Send the request once for each function that it calls, with a failure in this function.

        A function fails once per kind of credential. Returns the number of failures.
        """
        functions = (await self._send(await build(), Tracer())).functions
        self.modules |= {function.co_filename.removeprefix(f"{FOLDER}/").removesuffix(".py") for function in functions}
        new = [function for function in functions if (kind, function) not in self.failed]
        self.failed |= {(kind, function) for function in new}
        return sum([(await self._send(await build(), Tracer(function))).failed for function in new])

    async def _send(self, request: httpx.Request, tracer: Tracer) -> Tracer:
        previous = sys.gettrace()
        sys.settrace(tracer.trace)
        try:
            await self.client.send(request)
        except httpx.TransportError:
            assert tracer.failed
        finally:
            sys.settrace(previous)
        return tracer


@pytest.fixture
async def attacked(a_setting: Any) -> AsyncIterator[Attacked]:
    async with key_server(KEY) as provider:
        api: AdminApi = build_api(
            a_setting(
                oidc_issuer=ISSUER,
                oidc_audience=AUDIENCE,
                oidc_jwks_url=provider.url,
                oidc_role_map={"admins": "admin"},
            )
        )
        async with (
            http_server(api.app, "127.0.0.1", 0) as port,
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}{BASE}",
                headers={"Authorization": f"Bearer {TOKEN}"},
                limits=httpx.Limits(max_keepalive_connections=0),  # a failure may close the connection
                timeout=60,
            ) as client,
        ):
            yield Attacked(client, {TOKEN})
        await api.close()


async def test_an_exception_in_any_layer_writes_no_part_of_a_credential_to_the_log(attacked: Attacked) -> None:
    client, me, login = attacked.client, ("GET", "/me"), ("POST", "/sessions")
    token, jwt, cookie = (await attacked.token())[1], attacked.jwt(), await attacked.cookie()

    def sending(
        method: str, path: str, *, bearer: str | None = TOKEN, json: Any = None, **headers: str
    ) -> Callable[[], Awaitable[httpx.Request]]:
        async def build() -> httpx.Request:
            request = client.build_request(method, path, json=json, headers=headers)
            del request.headers["Authorization"]
            if bearer is not None:
                request.headers["Authorization"] = f"Bearer {bearer}"
            return request

        return build

    async def logout() -> httpx.Request:
        return await sending("DELETE", "/sessions/current", bearer=None, Cookie=await attacked.cookie(), **OWN_PAGE)()

    async def rotation() -> httpx.Request:
        return await sending("POST", f"/tokens/{(await attacked.token())[0]}/rotate")()

    async def keyed() -> httpx.Request:
        return await sending("POST", "/configs", bearer=token, json=a_config(), **{"Idempotency-Key": uuid4().hex})()

    requests = [
        ("bootstrap", sending(*me)),
        ("token", sending(*me, bearer=token)),
        ("jwt", sending(*me, bearer=jwt)),
        ("session", sending(*me, bearer=None, Cookie=cookie)),
        ("token", sending(*login, bearer=token, Cookie=cookie)),
        ("session", logout),
        ("bootstrap", sending("POST", "/tokens", json={"name": "made", "role": "viewer"})),
        ("bootstrap", rotation),
        ("token", keyed),
    ]
    with log_text("json", "console") as text:
        failures = [await attacked.fail_everywhere(kind, build) for kind, build in requests]
    written = text.getvalue()
    assert attacked.modules >= LAYERS
    assert min(failures) > 0
    assert written.count("UnforeseenError: not foreseen") > sum(failures) / 2
    parts = {part for credential in attacked.credentials for part in parts_of(credential)}
    assert parts & {part for word in words(written) for part in parts_of(word)} == set()
    assert unknown_secrets(written) == []


async def test_a_database_error_does_not_show_the_values_of_a_statement(api: AdminApi) -> None:
    statement, value = sa.text("SELECT 1 / CAST(:zero AS integer), CAST(:value AS text)"), uuid4().hex
    with log_text("json", "console") as text:
        async with api.engine.connect() as connection:
            try:
                await connection.execute(statement, {"zero": 0, "value": value})
            except sa.exc.DBAPIError:
                log.exception("A statement failed", action="statement_failed")
    assert text.getvalue().count("division by zero") >= 2
    assert value not in text.getvalue()


def parts_of(word: str) -> set[str]:
    return {word[n : n + _PART_LENGTH] for n in range(len(word) - _PART_LENGTH + 1)}


def words(text: str) -> set[str]:
    """The texts that may contain a part of a credential."""
    return set(re.findall(rf"[A-Za-z0-9_.-]{{{_PART_LENGTH},}}", text))


def unknown_secrets(text: str) -> list[str]:
    """Texts that look like the random part of a credential: the client has never seen one that was not answered."""
    return [
        found
        for found in re.findall(r"[A-Za-z0-9_-]{40,}", text)
        if re.search("[a-z]", found) and re.search("[A-Z]", found) and re.search("[0-9]", found)
    ]
