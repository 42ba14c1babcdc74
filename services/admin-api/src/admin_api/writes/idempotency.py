"""Idempotency-Key: a request that is sent again is answered again, and done once.

What a request does and its stored answer are one transaction. So a process that dies leaves both or neither, and no key
is left behind by a request that came to nothing. While the transaction lasts an advisory lock stands for the key: a
second request does not wait for the row, it is told at once that the first is not done yet.
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
from admin_api.http.stored_response import StoredResponse
from admin_api.writes.actors import Actor
from admin_api.writes.transactions import transaction
from admin_api.writes.unit_of_work import UnitOfWork
from store.tables import idempotency_keys

HEADER: Final = "Idempotency-Key"
REPLAYED_HEADER: Final = "Idempotent-Replayed"
PATTERN: Final = r'^([!#-~]{1,255}|"[!#-~]{1,255}")$'
"""Visible ASCII without quotes, or that as a structured header's string, in quotes. Both are the same key."""

KEPT_FOR: Final = timedelta(hours=24)
_RETRY_AFTER_SECONDS: Final = 1
_PURGED_AT_ONCE: Final = 100

Operation = Callable[[UnitOfWork], Awaitable[StoredResponse]]


@dataclass(frozen=True)
class KeyedRequest:
    """A request that can be told from others."""

    key: str
    owner: str
    """Keys of one caller are nothing to another."""
    method: str
    path: str
    fingerprint: bytes
    """Of all that decides what the request does."""

    @property
    def lock(self) -> int:
        """A number for the key, as Postgres' advisory locks have it."""
        return int.from_bytes(_digest(self.owner.encode(), self.key.encode())[:8], "big", signed=True)


def keyed_request(key: str, actor: Actor, method: str, path: str, *decisive: bytes) -> KeyedRequest:
    """`key` as the header has it; `decisive` is the query, the body, and the headers that matter."""
    return KeyedRequest(key.strip('"'), actor.key, method, path, _digest(method.encode(), path.encode(), *decisive))


def _digest(*parts: bytes) -> bytes:
    """Each part by its own digest, so that no two divisions of the same bytes are alike."""
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


async def run_once(
    engine: AsyncEngine, request: KeyedRequest, actor: Actor, now: datetime, operation: Operation
) -> StoredResponse:
    """Do it and keep the answer, also when that is a refusal; or give the answer that is kept.

    Raises `KeyInUse`, `KeyReused`. What fails on our side is not kept, and neither is a 429: it may be tried again.
    """
    async with transaction(engine) as connection:
        kept = await _kept(connection, request, now)
        if kept is not None:
            return kept.with_header(REPLAYED_HEADER, "true")
        work = UnitOfWork(connection, actor, now)
        answer = await _attempt(work, operation, request.path)
        await _keep(connection, request, answer, now)
        await _purge(connection, now)
    work.committed()
    return answer


async def _kept(connection: AsyncConnection, request: KeyedRequest, now: datetime) -> StoredResponse | None:
    if not await connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(request.lock))):
        raise KeyInUse(
            "The first request with this key is still being served; ask again in a moment for its answer.",
            headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
        )
    # A statement of its own: its snapshot has what the last holder of the lock committed.
    keys = idempotency_keys.c
    query = sa.select(idempotency_keys).where(keys.actor == request.owner, keys.key == request.key)
    row = (await connection.execute(query.where(keys.expires_at > now))).one_or_none()
    if row is None:
        return None
    if row.request_hash != request.fingerprint:
        raise KeyReused(
            f"This key stands for {row.method} {row.path} of {row.created_at:%Y-%m-%dT%H:%M:%SZ}. This request differs "
            "from it in its path, parameters, body or If-Match: take a new key."
        )
    return StoredResponse(row.status, row.headers, row.body)


async def _attempt(work: UnitOfWork, operation: Operation, path: str) -> StoredResponse:
    try:
        async with work.connection.begin_nested():
            answer = await operation(work)
            await work.finish()
    except ApiError as error:
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(error, TooManyRequests):
            raise
        work.abandon()
        return StoredResponse.of_problem(error, path)
    return answer


async def _keep(connection: AsyncConnection, request: KeyedRequest, answer: StoredResponse, now: datetime) -> None:
    row = {
        "actor": request.owner,
        "key": request.key,
        "method": request.method,
        "path": request.path,
        "request_hash": request.fingerprint,
        "created_at": now,
        "expires_at": now + KEPT_FOR,
        "status": answer.status,
        "headers": dict(answer.headers),
        "body": answer.body,
    }
    insert = pg_insert(idempotency_keys).values(row)
    # What is there under this key has expired, or we would not be here.
    await connection.execute(
        insert.on_conflict_do_update(
            index_elements=["actor", "key"], set_={name: insert.excluded[name] for name in row}
        )
    )


async def _purge(connection: AsyncConnection, now: datetime) -> None:
    """Each new key clears away more old ones than it adds, so that no job has to; what others clear is left to them."""
    keys = idempotency_keys.c
    expired = (
        sa.select(keys.actor, keys.key)
        .where(keys.expires_at <= now)
        .order_by(keys.expires_at)
        .limit(_PURGED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    await connection.execute(sa.delete(idempotency_keys).where(sa.tuple_(keys.actor, keys.key).in_(expired)))
