"""Browsers' sessions: a token is exchanged once for a cookie that scripts cannot read and that ends by itself."""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.auth.identity import Identity, Unauthorized
from admin_api.auth.known_credentials import KnownCredentials
from admin_api.auth.last_use import note_use
from admin_api.auth.schemas import status_of
from admin_api.writes import audit_log
from admin_api.writes.actors import Actor, Role
from admin_api.writes.transactions import reading, transaction
from runtime.logs import log
from store.tables import api_tokens, sessions

IDLE: Final = timedelta(minutes=30)
LIFETIME: Final = timedelta(hours=12)
_KEPT_AFTER_THE_END: Final = timedelta(days=1)
_PURGED_AT_ONCE: Final = 1000


class Sessions:
    """Rows are found by a keyed hash of the cookie. The key is the bootstrap token: who changes that, because it
    leaked, ends every session that it may have opened.
    """

    def __init__(self, engine: AsyncEngine, bootstrap_token: SecretStr) -> None:
        self._engine = engine
        self._key = bootstrap_token.get_secret_value().encode()
        self._seen = KnownCredentials()

    def has_seen(self, cookie: str) -> bool:
        """Whether there was such a session: so it is no guess."""
        return self._hash(cookie) in self._seen

    async def open(self, actor: Actor, previous: str | None, now: datetime) -> tuple[str, datetime]:
        """What the cookie holds, and when the session ends at the latest: never after the token that opened it.

        The browser's previous session ends: an identifier never survives a login.
        """
        cookie, expires_at = secrets.token_urlsafe(32), now + LIFETIME
        if actor.expires_at is not None:
            expires_at = min(expires_at, actor.expires_at)
        id_hash = self._hash(cookie)
        row = {
            "id_hash": id_hash,
            "token_id": actor.token_id,
            "actor_kind": actor.kind,
            "actor": actor.name,
            "subject": actor.subject,
            "role": actor.role,
            "address": actor.address,
            "created_at": now,
            "last_seen_at": now,
            "expires_at": expires_at,
        }
        async with transaction(self._engine) as connection:
            await _purge(connection, now)
            if previous is not None:
                await _revoke(connection, self._hash(previous), now)
            await connection.execute(sa.insert(sessions).values(row))
            await _audit(connection, actor, now, "session.open", id_hash, {"expires_at": expires_at.isoformat()})
        log.info("Session opened", action="session_opened", actor=actor.name, role=actor.role)
        return cookie, expires_at

    async def close(self, cookie: str, actor: Actor, now: datetime) -> None:
        """From now on, on every instance."""
        id_hash = self._hash(cookie)
        async with transaction(self._engine) as connection:
            if await _revoke(connection, id_hash, now):
                await _audit(connection, actor, now, "session.close", id_hash, None)
        log.info("Session closed", action="session_closed", actor=actor.name)

    async def identity(self, cookie: str, now: datetime) -> Identity:
        """Raises `Unauthorized`, `DatabaseUnavailable`."""
        query = (
            sa.select(
                sessions, api_tokens.c.revoked_at.label("token_revoked"), api_tokens.c.expires_at.label("token_ends")
            )
            .select_from(sessions.outerjoin(api_tokens, api_tokens.c.id == sessions.c.token_id))
            .where(sessions.c.id_hash == self._hash(cookie))
        )
        async with reading(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise Unauthorized("unknown", "There is no such session; log in again.")
        self._seen.add(row.id_hash)
        identity = Identity(
            kind="session",
            name=row.actor,
            role=Role(row.role),
            token_id=row.token_id,
            subject=row.subject,
            expires_at=row.expires_at,
        )
        if (ended := end_reason(row, now)) is not None:
            raise Unauthorized("session_ended", f"The session {ended}; log in again.", whose=identity)
        await note_use(self._engine, sessions.c.last_seen_at, row.id_hash, row.last_seen_at, now)
        return identity

    def _hash(self, cookie: str) -> bytes:
        return hmac.digest(self._key, cookie.encode(errors="surrogatepass"), hashlib.sha256)


def end_reason(row: Any, now: datetime) -> str | None:
    """None while it lasts. `row` is a session with its token's `token_revoked` and `token_ends`."""
    if row.revoked_at is not None and row.revoked_at <= now:
        return "was closed"
    if row.expires_at <= now:
        return "has lasted as long as one may"
    if row.last_seen_at <= now - IDLE:
        return "was not used for too long"
    if status_of(row.token_revoked, row.token_ends, now) != "active":
        return "ended with its token"
    return None


async def _revoke(connection: AsyncConnection, id_hash: bytes, now: datetime) -> bool:
    lasting = sa.and_(sessions.c.id_hash == id_hash, sessions.c.revoked_at.is_(None))
    ended = await connection.execute(sa.update(sessions).where(lasting).values(revoked_at=now))
    return ended.rowcount > 0


async def _purge(connection: AsyncConnection, now: datetime) -> None:
    """Of those that ended long ago, some: logins are what makes rows, so they clear them away."""
    old = (
        sa.select(sessions.c.id_hash)
        .where(sessions.c.expires_at < now - _KEPT_AFTER_THE_END)
        .limit(_PURGED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    await connection.execute(sa.delete(sessions).where(sessions.c.id_hash.in_(old)))


async def _audit(
    connection: AsyncConnection,
    actor: Actor,
    now: datetime,
    action: str,
    id_hash: bytes,
    after: dict[str, Any] | None,
) -> None:
    await audit_log.record(
        connection,
        actor,
        now,
        action=action,
        object_type="session",
        object_id=id_hash.hex()[:16],  # enough to tell sessions apart; of no use to anybody else
        after=after,
    )
