"""Idempotency-Key: a repeated request gets the stored response and is not executed again.

The change and its stored response are one transaction. So a process that crashes stores both or neither, and a request
without effect leaves no key. During the transaction an advisory lock represents the key. A second request does not
wait for the row: it gets the error that the first request is still in progress.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.http.errors import ApiError, KeyInUse, KeyReused, TooManyRequests
from admin_api.http.request_cost import RequestCost
from admin_api.http.stored_response import StoredResponse
from admin_api.writes.actors import Actor
from admin_api.writes.transactions import transaction
from admin_api.writes.unit_of_work import UnitOfWork
from store.tables import idempotency_keys

HEADER: Final = "Idempotency-Key"
REPLAYED_HEADER: Final = "Idempotent-Replayed"
PATTERN: Final = r'^([!#-~]{1,255}|"[!#-~]{1,255}")$'
"""The pattern of a key: visible ASCII characters except quotes. The key may be written with or without quotes around
it.
"""

RETENTION: Final = timedelta(hours=24)
_RETRY_AFTER_SECONDS: Final = 1
_PURGE_BATCH_SIZE: Final = 100

Operation = Callable[[UnitOfWork], Awaitable[StoredResponse]]


@dataclass(frozen=True)
class KeyedRequest:
    """A request with an idempotency key."""

    key: str
    owner: str
    """The caller. Two callers may use the same key for different requests."""
    method: str
    path: str
    fingerprint: bytes
    """A hash of everything that determines the effect of the request."""

    @property
    def lock(self) -> int:
        """The key as a 64-bit number, for Postgres' advisory lock."""
        return int.from_bytes(_digest(self.owner.encode(), self.key.encode())[:8], "big", signed=True)


def keyed_request(key: str, actor: Actor, method: str, path: str, *decisive: bytes) -> KeyedRequest:
    """`key` is the header's value; `decisive` is the query, the body and the headers that change the effect."""
    return KeyedRequest(key.strip('"'), actor.key, method, path, _digest(method.encode(), path.encode(), *decisive))


def _digest(*parts: bytes) -> bytes:
    """A digest of the parts. Each part is hashed first, so that different divisions of the same bytes give different
    digests.
    """
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


async def run_once(
    engine: AsyncEngine, request: KeyedRequest, actor: Actor, now: datetime, cost: RequestCost, operation: Operation
) -> StoredResponse:
    """Run the operation and store its response, even if it is an error. If a response is already stored, return it
    instead.

    Raises `KeyInUse`, `KeyReused`. Server errors and 429 are not stored, so that the caller can try again.
    """
    async with transaction(engine) as connection:
        stored = await _load(connection, request, now)
        if stored is not None:
            return stored.with_header(REPLAYED_HEADER, "true")
        unit = UnitOfWork(connection, actor, now, cost)
        response = await _attempt(unit, operation, request.path)
        await _store(connection, request, response, now)
        await _purge(connection, now)
    unit.after_commit()
    return response


async def _load(connection: AsyncConnection, request: KeyedRequest, now: datetime) -> StoredResponse | None:
    if not await connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(request.lock))):
        raise KeyInUse(
            "The first request with this key is still in progress; repeat the request in a moment to get its response.",
            headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
        )
    # A separate statement after the lock, so that its snapshot contains the commit of the lock's last holder.
    keys = idempotency_keys.c
    query = sa.select(idempotency_keys).where(keys.actor == request.owner, keys.key == request.key)
    row = (await connection.execute(query.where(keys.expires_at > now))).one_or_none()
    if row is None:
        return None
    if row.request_hash != request.fingerprint:
        raise KeyReused(
            f"This key was used for {row.method} {row.path} at {row.created_at:%Y-%m-%dT%H:%M:%SZ}. This request "
            "differs from it in its path, parameters, body or If-Match; use a new key."
        )
    return StoredResponse(row.status, row.headers, row.body)


async def _attempt(unit: UnitOfWork, operation: Operation, path: str) -> StoredResponse:
    try:
        async with unit.connection.begin_nested():
            response = await operation(unit)
            await unit.flush()
    except ApiError as error:
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(error, TooManyRequests):
            raise
        unit.discard()
        return StoredResponse.of_problem(error, path)
    return response


async def _store(connection: AsyncConnection, request: KeyedRequest, response: StoredResponse, now: datetime) -> None:
    row = {
        "actor": request.owner,
        "key": request.key,
        "method": request.method,
        "path": request.path,
        "request_hash": request.fingerprint,
        "created_at": now,
        "expires_at": now + RETENTION,
        "status": response.status,
        "headers": dict(response.headers),
        "body": response.body,
    }
    insert = pg_insert(idempotency_keys).values(row)
    # If a row exists for this key, it has expired. Otherwise `_load` would have returned it.
    await connection.execute(
        insert.on_conflict_do_update(
            index_elements=["actor", "key"], set_={name: insert.excluded[name] for name in row}
        )
    )


async def _purge(connection: AsyncConnection, now: datetime) -> None:
    """Delete a batch of expired keys, so that no periodic task is necessary. Skips rows that others have locked."""
    keys = idempotency_keys.c
    expired = (
        sa.select(keys.actor, keys.key)
        .where(keys.expires_at <= now)
        .order_by(keys.expires_at)
        .limit(_PURGE_BATCH_SIZE)
        .with_for_update(skip_locked=True)
    )
    await connection.execute(sa.delete(idempotency_keys).where(sa.tuple_(keys.actor, keys.key).in_(expired)))
