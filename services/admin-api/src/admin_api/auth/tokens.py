"""Creates, lists, revokes and rotates API tokens. Each change and its audit entry are one transaction."""

from datetime import datetime, timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.auth.schemas import IssuedToken, NewToken, Token
from admin_api.auth.token_format import MintedToken, mint
from admin_api.http.errors import ApiError, FieldError, Forbidden, InvalidInput, NotFound
from admin_api.http.input_types import QueryInteger
from admin_api.http.pagination import Listing, Page, PageQuery, page_of
from admin_api.writes import audit_log
from admin_api.writes.actors import Actor
from admin_api.writes.transactions import reading, transaction
from runtime.logs import log
from store.tables import api_tokens, sessions

_COLUMNS = [column for column in api_tokens.c if column.name != "secret_hash"]
TOKENS: Final = Listing(name="tokens", shown=_COLUMNS, orders={"id": (api_tokens.c.id,)})


class TokenFilters(PageQuery):
    """The query parameters of the list of tokens."""

    active: bool | None = Field(
        default=None, description="true: only active tokens; false: only revoked or expired tokens."
    )
    limit: QueryInteger = Field(default=100, ge=1, le=100)
    sort: Literal["-id", "id"] = Field(default="-id", description="`-id`: newest first; `id`: oldest first.")

    def conditions(self, now: datetime) -> list[sa.ColumnElement[bool]]:
        """The filters as SQL conditions."""
        if self.active is None:
            return []
        columns = api_tokens.c
        in_use = sa.and_(
            sa.or_(columns.revoked_at.is_(None), columns.revoked_at > now),
            sa.or_(columns.expires_at.is_(None), columns.expires_at > now),
        )
        return [in_use if self.active else sa.not_(in_use)]


class TokenNotActive(ApiError):  # noqa: N818 -- the name states the problem
    """The token is revoked, expired or already replaced."""

    status = 409
    slug = "token-not-active"
    title = "The token is not active"


class Tokens:
    """The operations on API tokens."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def create(self, wanted: NewToken, actor: Actor, now: datetime) -> IssuedToken:
        """Create a token. Only this result contains its secret.

        If a session creates the token, the token cannot have a higher role or a later end than the credential that
        opened the session. If the request names no lifetime, the default is shortened. Raises `Forbidden`,
        `InvalidInput`.
        """
        expires_at = _end_of_new_token(wanted, actor, now)
        minted = mint()
        async with transaction(self._engine) as connection:
            token = await _insert(
                connection, minted, actor, now, name=wanted.name, role=wanted.role, expires_at=expires_at
            )
            await _audit(connection, actor, now, "token.create", after=token)
        log.info("Token created", action="token_created", token_id=token.id, name=token.name, role=token.role)
        return IssuedToken(**token.model_dump(), token=minted.text)

    async def page(self, filters: TokenFilters, now: datetime) -> Page[Token]:
        """One page of the list. Raises `InvalidInput`."""
        async with reading(self._engine) as connection:
            page = await page_of(connection, TOKENS, filters, filters.conditions(now))
        return page.map(lambda row: Token.of(row, now))

    async def revoke(self, token_id: int, actor: Actor, now: datetime) -> None:
        """End a token and its sessions at once, on every instance. Idempotent. Raises `NotFound`."""
        async with transaction(self._engine) as connection:
            before = await _lock_for_update(connection, token_id, now)
            if before.revoked_at is not None and before.revoked_at <= now:
                return
            after = await _end(connection, token_id, now, ends_at=now)
            await _audit(connection, actor, now, "token.revoke", before=before, after=after)
        log.info("Token revoked", action="token_revoked", token_id=token_id, name=before.name)

    async def rotate(self, token_id: int, grace: timedelta, actor: Actor, now: datetime) -> IssuedToken:
        """Create a new token with the same name, role and lifetime. The old one ends after `grace`.

        Raises `NotFound`, `TokenNotActive`. Raises `Forbidden` if the new token would be valid for longer than the
        credential that opened the session of this request.
        """
        minted = mint()
        async with transaction(self._engine) as connection:
            before = await _lock_for_update(connection, token_id, now)
            if before.revoked_at is not None or before.status != "active":
                raise TokenNotActive(
                    f"Token {token_id} ({before.name}) is revoked, expired or already replaced; create a new one."
                )
            expires_at = None if before.expires_at is None else now + (before.expires_at - before.created_at)
            if _outlives(expires_at, actor):
                raise Forbidden(
                    f"The new token would be valid for longer than the credential that opened this session, which ends "
                    f"at {actor.grants_until:%Y-%m-%dT%H:%M:%SZ}. Send a bearer token instead of the session."
                )
            token = await _insert(
                connection, minted, actor, now, name=before.name, role=before.role, expires_at=expires_at
            )
            await _end(connection, token_id, now, ends_at=now + grace)
            await _audit(connection, actor, now, "token.rotate", before=before, after=token)
        log.info("Token rotated", action="token_rotated", token_id=token_id, new_token_id=token.id, name=token.name)
        return IssuedToken(**token.model_dump(), token=minted.text)


def _end_of_new_token(wanted: NewToken, actor: Actor, now: datetime) -> datetime | None:
    if not actor.role.includes(wanted.role):
        raise Forbidden(f"{actor.name} has the role {actor.role}, so it cannot create a token with a higher role.")
    expires_at = None if wanted.expires_in_days is None else now + timedelta(days=wanted.expires_in_days)
    if not _outlives(expires_at, actor):
        return expires_at
    if "expires_in_days" not in wanted.model_fields_set:
        return actor.grants_until
    detail = (
        f"the credential that opened this session ends at {actor.grants_until:%Y-%m-%dT%H:%M:%SZ}, and no token of the "
        "session may be valid for longer. Choose fewer days, leave the field out, or send a bearer token instead"
    )
    raise InvalidInput.of([FieldError("#/expires_in_days", detail)])


def _outlives(expires_at: datetime | None, actor: Actor) -> bool:
    """Whether a token with this end is valid for longer than the credential that opened the actor's session."""
    return actor.grants_until is not None and (expires_at is None or expires_at > actor.grants_until)


async def _insert(connection: AsyncConnection, minted: MintedToken, actor: Actor, now: datetime, **given: Any) -> Token:
    values = {
        **given,
        "public_id": minted.public_id,
        "secret_hash": minted.secret_hash,
        "created_at": now,
        "created_by": actor.name,
    }
    row = (await connection.execute(sa.insert(api_tokens).values(values).returning(*_COLUMNS))).one()
    return Token.of(row, now)


async def _lock_for_update(connection: AsyncConnection, token_id: int, now: datetime) -> Token:
    query = sa.select(*_COLUMNS).where(api_tokens.c.id == token_id).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound(f"There is no token {token_id}; GET /api/v1/admin/data-collection/tokens lists all tokens.")
    return Token.of(row, now)


async def _end(connection: AsyncConnection, token_id: int, now: datetime, *, ends_at: datetime) -> Token:
    # A session of a revoked token is refused in any case. This also marks the row of the session as ended.
    if ends_at <= now:
        open_sessions = sa.and_(sessions.c.token_id == token_id, sessions.c.revoked_at.is_(None))
        await connection.execute(sa.update(sessions).where(open_sessions).values(revoked_at=now))
    change = sa.update(api_tokens).where(api_tokens.c.id == token_id).values(revoked_at=ends_at).returning(*_COLUMNS)
    return Token.of((await connection.execute(change)).one(), now)


async def _audit(
    connection: AsyncConnection,
    actor: Actor,
    now: datetime,
    action: str,
    *,
    before: Token | None = None,
    after: Token | None = None,
) -> None:
    subject = before or after
    await audit_log.record(
        connection,
        actor,
        now,
        action=action,
        object_type="token",
        object_id=str(subject.id) if subject else None,
        before=before.model_dump(mode="json") if before else None,
        after=after.model_dump(mode="json") if after else None,
    )
