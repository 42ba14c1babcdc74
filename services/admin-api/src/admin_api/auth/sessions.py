"""Browser sessions: a login exchanges a token for a cookie that scripts cannot read and that expires."""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.auth.credential_use import LastUse
from admin_api.auth.identity import Identity, Unauthorized
from admin_api.auth.schemas import status_of
from admin_api.auth.shared_lookup import SharedLookup
from admin_api.auth.sign_in_links import cookie_of
from admin_api.writes import audit_log
from admin_api.writes.actors import Actor, Role
from admin_api.writes.transactions import transaction
from runtime.logs import log
from store.tables import api_tokens, sessions

IDLE: Final = timedelta(minutes=30)
LIFETIME: Final = timedelta(hours=12)
_RETENTION_AFTER_END: Final = timedelta(days=1)
_PURGE_BATCH_SIZE: Final = 1000
_WITH_TOKEN: Final = sa.select(
    sessions, api_tokens.c.revoked_at.label("token_revoked"), api_tokens.c.expires_at.label("token_ends")
).select_from(sessions.outerjoin(api_tokens, api_tokens.c.id == sessions.c.token_id))
"""All sessions, each with the end of the token that opened it."""


class Sessions:
    """Finds a session by a keyed hash of its cookie. The key is the bootstrap token.

    So if an operator replaces a leaked bootstrap token, every session that was opened with it ends, too.
    """

    def __init__(self, engine: AsyncEngine, bootstrap_token: SecretStr) -> None:
        self._engine = engine
        self._key = bootstrap_token.get_secret_value().encode()
        self._rows = SharedLookup[bytes](engine, _WITH_TOKEN, sessions.c.id_hash)
        self._last_use = LastUse(engine, sessions.c.last_seen_at)

    async def open(
        self, actor: Actor, previous: str | None, now: datetime, *, link_code: str | None = None
    ) -> tuple[str, datetime]:
        """Open a session. Returns the value of the new cookie, and the end of the session, which is never later than
        the end of its token.

        Closes the browser's previous session, because a login must always change the session identifier. `link_code` is
        the code of a sign-in link. Raises `Unauthorized` if it was used before.
        """
        cookie = secrets.token_urlsafe(32) if link_code is None else cookie_of(link_code, self._key.decode())
        expires_at = now + LIFETIME
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
            added = await connection.execute(insert(sessions).values(row).on_conflict_do_nothing())
            if added.rowcount == 0:
                raise Unauthorized(
                    "used", "This sign-in link was used before. Sign in with a token, or make a new link."
                )
            await _audit(connection, actor, now, "session.open", id_hash, {"expires_at": expires_at.isoformat()})
        log.info("Session opened", action="session_opened", actor=actor.name, role=actor.role)
        return cookie, expires_at

    async def close(self, cookie: str, actor: Actor, now: datetime) -> None:
        """End the session, at once and on every instance."""
        id_hash = self._hash(cookie)
        async with transaction(self._engine) as connection:
            if await _revoke(connection, id_hash, now):
                await _audit(connection, actor, now, "session.close", id_hash, None)
        log.info("Session closed", action="session_closed", actor=actor.name)

    async def identity(self, cookie: str, now: datetime) -> Identity:
        """The owner of the session. Raises `Unauthorized`, `DatabaseUnavailable`."""
        row = await self._rows.row(self._hash(cookie))
        if row is None:
            raise Unauthorized("unknown", "This session does not exist; log in again.")
        identity = Identity(
            kind="session",
            name=row.actor,
            role=Role(row.role),
            token_id=row.token_id,
            subject=row.subject,
            expires_at=row.expires_at,
            grants_until=_end_of_credential(row),
        )
        if (ended := end_reason(row, now)) is not None:
            raise Unauthorized("session_ended", f"The session {ended}; log in again.", identity=identity)
        await self._last_use.write(row.id_hash, row.last_seen_at, now)
        return identity

    def _hash(self, cookie: str) -> bytes:
        return hmac.digest(self._key, cookie.encode(errors="surrogatepass"), hashlib.sha256)


def _end_of_credential(row: Any) -> datetime | None:
    """The end of the credential that opened the session; None if it has no end. The end of a JWT is not stored, but the
    session ends with it or before.
    """
    if row.token_id is not None:
        return min((end for end in (row.token_ends, row.token_revoked) if end is not None), default=None)
    return None if row.actor_kind == "bootstrap" else row.expires_at


def end_reason(row: Any, now: datetime) -> str | None:
    """The reason why the session has ended; None if it is active. `row` is a session with `token_revoked` and
    `token_ends`.
    """
    if row.revoked_at is not None and row.revoked_at <= now:
        return "was closed"
    if row.expires_at <= now:
        return "has reached its maximum duration"
    if row.last_seen_at <= now - IDLE:
        return "was not used for too long"
    if status_of(row.token_revoked, row.token_ends, now) != "active":
        return "ended with its token"
    return None


async def _revoke(connection: AsyncConnection, id_hash: bytes, now: datetime) -> bool:
    is_open = sa.and_(sessions.c.id_hash == id_hash, sessions.c.revoked_at.is_(None))
    ended = await connection.execute(sa.update(sessions).where(is_open).values(revoked_at=now))
    return ended.rowcount > 0


async def _purge(connection: AsyncConnection, now: datetime) -> None:
    """Delete a batch of old sessions. Each login does this, so no periodic task is necessary."""
    old = (
        sa.select(sessions.c.id_hash)
        .where(sessions.c.expires_at < now - _RETENTION_AFTER_END)
        .limit(_PURGE_BATCH_SIZE)
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
        object_id=id_hash.hex()[:16],  # this value identifies the session in the audit log and cannot be used to log in
        after=after,
    )
