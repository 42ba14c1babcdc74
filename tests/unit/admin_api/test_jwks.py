"""The cache of the identity provider's keys, with a server that sometimes fails."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from admin_api.auth.jwks import Jwks, parse_keys
from support.identity_provider import KeyServer, a_key, key_server
from support.polling import eventually

FIRST, SECOND = a_key("first"), a_key("second")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    async with key_server(FIRST) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outcomes() -> list[str]:
    return []


@pytest.fixture
def keys(server: KeyServer, clock: Clock, outcomes: list[str]) -> Jwks:
    return Jwks(server.url, outcomes.append, clock)


async def test_keys_are_fetched_once_when_first_needed(server: KeyServer, keys: Jwks) -> None:
    assert server.requests == 0
    found = await asyncio.gather(*(keys.key("first") for _ in range(20)))
    assert {key.kid for key in found if key is not None} == {"first"}
    assert server.requests == 1


async def test_an_unknown_key_causes_at_most_one_fetch_in_30_seconds(
    server: KeyServer, keys: Jwks, clock: Clock
) -> None:
    await keys.key("first")
    server.keys.append(SECOND)
    for _ in range(10):
        assert await keys.key("second") is None
    assert server.requests == 1
    clock.now += 30
    assert (await keys.key("second")) is not None
    assert server.requests == 2
    for number in range(10):
        assert await keys.key(f"made up {number}") is None
    assert server.requests == 2


async def test_an_old_key_is_returned_at_once_during_a_new_fetch(server: KeyServer, keys: Jwks, clock: Clock) -> None:
    await keys.key("first")
    clock.now += 301
    server.hang = asyncio.Event()
    async with asyncio.timeout(1):
        assert await keys.key("first") is not None
    server.keys[:] = [SECOND]
    server.hang.set()

    async def replaced() -> bool:
        return await keys.key("first") is None

    await eventually(replaced, within=5)
    assert await keys.key("second") is not None


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 302, "headers": {"Location": "http://127.0.0.1:1/elsewhere"}},
        {"body": b"no JSON"},
        {"body": b"[]"},
        {"body": b'{"keys": []}'},
        {"body": b'{"keys": 7}'},
        {"body": b" " * 300_000},
        {"body": b"[" * 100_000},
    ],
    ids=["500", "redirect", "text", "array", "no keys", "number", "huge", "deep"],
)
async def test_a_failing_provider_leaves_the_known_keys_in_use(
    server: KeyServer, keys: Jwks, clock: Clock, outcomes: list[str], fault: dict[str, Any]
) -> None:
    await keys.key("first")
    vars(server).update(fault)
    clock.now += 301
    assert await keys.key("unknown") is None
    assert keys.failed
    assert await keys.key("first") is not None
    assert outcomes == ["ok", "failed"]
    vars(server).update(status=200, body=None, headers={})
    clock.now += 30
    assert await keys.key("unknown") is None
    assert not keys.failed


async def test_a_provider_that_does_not_respond_delays_a_request_only_briefly(server: KeyServer, keys: Jwks) -> None:
    server.hang = asyncio.Event()
    async with asyncio.timeout(10):
        assert await keys.key("first") is None
    assert keys.failed
    server.hang.set()


async def test_a_cancelled_caller_does_not_cancel_the_fetch_for_others(server: KeyServer, keys: Jwks) -> None:
    server.hang = asyncio.Event()
    cancelled, waiting = asyncio.create_task(keys.key("first")), asyncio.create_task(keys.key("first"))

    async def requested() -> bool:
        return server.requests == 1

    await eventually(requested, within=5)
    cancelled.cancel()
    server.hang.set()
    assert await waiting is not None
    assert server.requests == 1


def test_only_keys_that_verify_signatures_are_used() -> None:
    rsa = a_key("rsa", "RSA").as_dict(private=False)
    entries: list[Any] = [
        FIRST.as_dict(private=False),
        rsa,
        {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
        {**rsa, "kid": "encrypts", "use": "enc"},
        {**{name: value for name, value in rsa.items() if name != "kid"}},
        {**rsa, "kid": 7},
        {"kty": "EC", "kid": "broken", "crv": "P-256", "x": "?", "y": ""},
        {"kty": "RSA", "kid": "empty"},
        {"kid": "no type"},
        "text",
        None,
    ]
    assert set(parse_keys(json.dumps({"keys": entries}).encode())) == {"first", "rsa"}
