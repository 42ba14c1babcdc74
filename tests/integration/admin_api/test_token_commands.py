"""The command `python -m admin_api tokens`."""

import json
import os
from collections.abc import Awaitable, Callable

import httpx
import pytest

from admin_api.app import AdminApi
from support.api import client_of
from support.forked_commands import run_forked

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]

Tokens = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def tokens(login_url: Callable[[str], str]) -> Tokens:
    """Runs the command with its own login, which needs no other rights."""
    own_login = login_url("tokens")

    async def run(*arguments: str, url: str = own_login) -> tuple[int, str, str]:
        ended = await run_forked("admin_api", ("tokens", *arguments), {**os.environ, "DATABASE_URL": url})
        return ended.code or 0, ended.out, ended.err

    return run


async def who(api: AdminApi, token: str) -> httpx.Response:
    async with client_of(api, token) as caller:
        return await caller.get("/me")


async def test_a_token_is_created_used_rotated_and_revoked(
    api: AdminApi, client: httpx.AsyncClient, tokens: Tokens
) -> None:
    code, out, err = await tokens("create", "grafana", "--role", "viewer")
    first = out.strip()
    assert (code, out.count("\n"), "not shown again" in err) == (0, 1, True)
    me = (await who(api, first)).json()
    assert (me["name"], me["role"]) == ("grafana", "viewer")
    code, out, _ = await tokens("rotate", str(me["token_id"]), "--grace-minutes", "5", "--json")
    second = json.loads(out)
    assert code == 0
    assert [(await who(api, token)).status_code for token in (first, second["token"])] == [200, 200]
    assert (await tokens("revoke", str(second["id"])))[0] == 0
    assert (await who(api, second["token"])).status_code == 401
    listed = (await tokens("list", "--all"))[1].splitlines()[1:]
    assert [line.split()[:4] for line in listed] == [
        [str(second["id"]), "grafana", "viewer", "revoked"],
        [str(me["token_id"]), "grafana", "viewer", "active"],
    ]
    assert first[:15] in listed[1]
    assert first not in listed[1]
    audited = (await client.get("/audit-log", params={"object_type": "token"})).json()
    assert [entry["action"] for entry in audited] == ["token.revoke", "token.rotate", "token.create"]
    assert {entry["actor_kind"] for entry in audited} == {"command"}


async def test_each_error_is_one_clear_line(tokens: Tokens) -> None:
    for arguments, words in (
        (("revoke", "4711"), "There is no token 4711"),
        (("create", "a\nb", "--role", "viewer"), "match pattern"),
    ):
        code, out, err = await tokens(*arguments)
        assert (code != 0, out, "Traceback" in err) == (True, "", False), err
        assert words in err
    code, _, err = await tokens("list", url="postgresql://user@127.0.0.1:1/nothing")
    assert (code, err.startswith("admin-api: "), err.count("\n")) == (1, True, 1)
