"""Finds the owner of an API token.

Each request waits for a query that starts after the request arrived, so a revocation takes effect at once.
"""

import hmac
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.auth.credential_use import LastUse
from admin_api.auth.identity import Identity, Unauthorized
from admin_api.auth.schemas import status_of
from admin_api.auth.shared_lookup import SharedLookup
from admin_api.auth.token_format import ParsedToken
from admin_api.writes.actors import Role
from store.tables import api_tokens

_NO_HASH: Final = bytes(32)


class TokenLookup:
    """Looks up tokens in the table `api_tokens`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._rows = SharedLookup[str](engine, sa.select(api_tokens), api_tokens.c.public_id)
        self._last_use = LastUse(engine, api_tokens.c.last_used_at)

    async def identity(self, token: ParsedToken, now: datetime) -> Identity:
        """The owner of the token. Raises `Unauthorized`, `DatabaseUnavailable`."""
        row = await self._rows.row(token.public_id)
        # Compare also if there is no row, so that the response time does not reveal which ids exist.
        right = hmac.compare_digest(token.secret_hash, row.secret_hash if row is not None else _NO_HASH)
        if row is None or not right:
            raise Unauthorized("unknown", "This token does not exist.", public_id=token.public_id)
        identity = Identity(
            kind="token", name=row.name, role=Role(row.role), token_id=row.id, expires_at=row.expires_at
        )
        status = status_of(row.revoked_at, row.expires_at, now)
        if status != "active":
            ended = "was revoked" if status == "revoked" else "has expired"
            raise Unauthorized(
                status,
                f"The token {row.name} {ended}; request a new one from an admin.",
                identity=identity,
                public_id=row.public_id,
            )
        await self._last_use.write(row.id, row.last_used_at, now)
        return identity
