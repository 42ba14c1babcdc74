"""From a token in a request to whose it is: one indexed look-up, each time, so that a revocation counts at once."""

import hmac
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.auth.identity import Identity, Unauthorized
from admin_api.auth.known_credentials import KnownCredentials
from admin_api.auth.last_use import note_use
from admin_api.auth.schemas import status_of
from admin_api.auth.token_format import ParsedToken
from admin_api.writes.actors import Role
from admin_api.writes.transactions import reading
from store.tables import api_tokens

_NO_HASH: Final = bytes(32)


class TokenLookup:
    """Looks tokens up."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._seen = KnownCredentials()

    def has_seen(self, token: ParsedToken) -> bool:
        """Whether this token, secret and all, was once right: so it is no guess."""
        return token.secret_hash in self._seen

    async def identity(self, token: ParsedToken, now: datetime) -> Identity:
        """Raises `Unauthorized`, `DatabaseUnavailable`."""
        query = sa.select(api_tokens).where(api_tokens.c.public_id == token.public_id)
        async with reading(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
        # Compared also where there is none, so that the time taken does not tell which ids exist.
        right = hmac.compare_digest(token.secret_hash, row.secret_hash if row is not None else _NO_HASH)
        if row is None or not right:
            raise Unauthorized("unknown", "There is no such token.", public_id=token.public_id)
        self._seen.add(token.secret_hash)
        identity = Identity(
            kind="token", name=row.name, role=Role(row.role), token_id=row.id, expires_at=row.expires_at
        )
        status = status_of(row.revoked_at, row.expires_at, now)
        if status != "active":
            ended = "was revoked" if status == "revoked" else "has expired"
            raise Unauthorized(
                status,
                f"The token {row.name} {ended}; ask an admin for a new one.",
                whose=identity,
                public_id=row.public_id,
            )
        await note_use(self._engine, api_tokens.c.last_used_at, row.id, row.last_used_at, now)
        return identity
