"""A cache of the identity provider's public keys.

A token with an unknown key id causes a new fetch. If the provider does not respond, the known keys stay in use.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey

from runtime.logs import log

_FRESH_SECONDS: Final = 300.0
_REFETCH_SECONDS: Final = 30.0
_TIMEOUT_SECONDS: Final = 3.0
_MAX_BYTES: Final = 256 * 1024
_MAX_KEYS: Final = 100


class Jwks:
    """The keys by key id. `count_fetch` is called with the outcome of each fetch: "ok" or "failed"."""

    def __init__(
        self, url: str, count_fetch: Callable[[str], None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._count_fetch = count_fetch
        self._monotonic = monotonic
        self._keys: Mapping[str, Key] = {}
        self._fetched_at = self._attempted_at = float("-inf")
        self._failed = False
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> Key | None:
        """The key with this id; None if the provider has no such key.

        A known key is returned at once; if it is old, a fetch starts in the background. An unknown key id waits for a
        fetch. There is at most one fetch at a time and one in 30 seconds, so invented ids cannot cause more.
        """
        known = self._keys.get(kid)
        if known is None:
            await self._fetch_if_due(_REFETCH_SECONDS)
            return self._keys.get(kid)
        if self._monotonic() - self._fetched_at > _FRESH_SECONDS:
            self._start_if_due(_REFETCH_SECONDS)
        return known

    @property
    def failed(self) -> bool:
        """Whether the latest fetch failed. If it failed, a key that is missing here may exist at the provider."""
        return self._failed

    async def _fetch_if_due(self, every: float) -> None:
        task = self._start_if_due(every)
        if task is not None:
            await asyncio.shield(task)  # the cancellation of one caller must not cancel the fetch for the others

    def _start_if_due(self, every: float) -> asyncio.Task[None] | None:
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        if self._monotonic() - self._attempted_at < every:
            return None
        self._attempted_at = self._monotonic()
        self._fetching = asyncio.create_task(self._fetch(), name="jwks")
        return self._fetching

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                keys = parse_keys(await _download(self._url))
            if not keys:
                raise ValueError("the response has no usable key")
        except (httpx.HTTPError, OSError, TimeoutError, ValueError) as error:
            self._failed = True
            self._count_fetch("failed")
            log.warning(
                "Failed to fetch the identity provider's keys; the known keys stay in use",
                action="jwks_not_fetched",
                error=repr(error),
                known_keys=len(self._keys),
            )
        else:
            self._keys, self._failed, self._fetched_at = keys, False, self._monotonic()
            self._count_fetch("ok")


async def _download(url: str) -> bytes:
    """Raises `ValueError` if the status is not 200 or the body is too large. Follows no redirects, for safety."""
    async with (
        httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, follow_redirects=False) as client,
        client.stream("GET", url, headers={"Accept": "application/json"}) as response,
    ):
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"the response's status is {response.status_code}")
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > _MAX_BYTES:
                raise ValueError(f"the response has more than {_MAX_BYTES} bytes")
        return bytes(body)


def parse_keys(document: bytes) -> dict[str, Key]:
    """The keys that can verify signatures, by id. Raises `ValueError` if the document is not a key set.

    Shared secrets, encryption keys, keys without an id and malformed keys are left out.
    """
    try:
        parsed: Any = json.loads(document)
    except RecursionError as error:
        raise ValueError("the response is nested too deeply") from error
    entries = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the response is not a JSON Web Key Set")  # noqa: TRY004 -- the value comes from outside
    keys: dict[str, Key] = {}
    for entry in entries[:_MAX_KEYS]:
        if not isinstance(entry, dict) or not isinstance(kid := entry.get("kid"), str):
            continue
        if entry.get("use", "sig") != "sig" or entry.get("kty") not in {"RSA", "EC", "OKP"}:
            continue
        key = _import(entry)
        if key is not None:
            keys[kid] = key
    return keys


def _import(entry: dict[str, Any]) -> RSAKey | ECKey | OKPKey | None:
    try:
        key = JWKRegistry.import_key(entry)
    except (JoseError, ValueError, TypeError, KeyError):  # one malformed key must not make the others unusable
        return None
    return key if isinstance(key, (RSAKey, ECKey, OKPKey)) else None
