"""The identity provider's public keys: kept, fetched again when a token names one that is not there, and kept on when
the provider does not answer.
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
_PATIENCE_SECONDS: Final = 3.0
_MAX_BYTES: Final = 256 * 1024
_MAX_KEYS: Final = 100


class Jwks:
    """Keys by their id. `count` is told the outcome of each fetch: ok or failed."""

    def __init__(self, url: str, count: Callable[[str], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._count = count
        self._monotonic = monotonic
        self._keys: Mapping[str, Key] = {}
        self._fetched_at = self._asked_at = float("-inf")
        self._failed = False
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> Key | None:
        """The key of this id, None when the provider has no such key.

        A known key is answered at once, however old: when it is due, a fetch goes on beside. An unknown one waits for
        a fetch, of which there is one at a time and one in 30 seconds: made-up ids cannot make us ask more often.
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
        """Whether the latest fetch failed, so that a missing key may exist all the same."""
        return self._failed

    async def _fetch_if_due(self, every: float) -> None:
        task = self._start_if_due(every)
        if task is not None:
            await asyncio.shield(task)  # a caller that hangs up does not take the others' fetch with it

    def _start_if_due(self, every: float) -> asyncio.Task[None] | None:
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        if self._monotonic() - self._asked_at < every:
            return None
        self._asked_at = self._monotonic()
        self._fetching = asyncio.create_task(self._fetch(), name="jwks")
        return self._fetching

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                keys = read_keys(await _download(self._url))
            if not keys:
                raise ValueError("there is no usable key")
        except (httpx.HTTPError, OSError, TimeoutError, ValueError) as error:
            self._failed = True
            self._count("failed")
            log.warning(
                "The identity provider's keys could not be fetched; the known ones stay in use",
                action="jwks_not_fetched",
                error=repr(error),
                known_keys=len(self._keys),
            )
        else:
            self._keys, self._failed, self._fetched_at = keys, False, self._monotonic()
            self._count("ok")


async def _download(url: str) -> bytes:
    """Raises `ValueError` on anything but a small 200; follows no redirect, which could lead elsewhere."""
    async with (
        httpx.AsyncClient(timeout=_PATIENCE_SECONDS, follow_redirects=False) as client,
        client.stream("GET", url, headers={"Accept": "application/json"}) as answer,
    ):
        if answer.status_code != httpx.codes.OK:
            raise ValueError(f"the answer's status is {answer.status_code}")
        body = bytearray()
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > _MAX_BYTES:
                raise ValueError(f"the answer has more than {_MAX_BYTES} bytes")
        return bytes(body)


def read_keys(document: bytes) -> dict[str, Key]:
    """The keys that can verify signatures, by id. Shared secrets, keys for encryption, keys without an id and keys that
    cannot be read are left out. Raises `ValueError` when it is no key set.
    """
    try:
        parsed: Any = json.loads(document)
    except RecursionError as error:
        raise ValueError("the answer is nested too deeply") from error
    entries = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the answer is not a JSON Web Key Set")  # noqa: TRY004 -- a bad value from outside
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
    except (JoseError, ValueError, TypeError, KeyError):  # one odd key among good ones
        return None
    return key if isinstance(key, (RSAKey, ECKey, OKPKey)) else None
