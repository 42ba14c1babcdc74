"""The command `python -m admin_api tokens`. It needs only the database, so it works when the API does not run."""

import asyncio
import getpass
import json
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar
from uuid import uuid4

import typer
from pydantic import ValidationError

from admin_api.auth.schemas import MAX_GRACE_MINUTES, MAX_LIFETIME_DAYS, IssuedToken, NewToken, Token
from admin_api.auth.tokens import TokenFilters, Tokens
from admin_api.http.errors import ApiError, OutcomeUnknown
from admin_api.writes.actors import Actor, Role
from admin_api.writes.transactions import reading
from runtime.database import build_engine
from runtime.logs import configure_logging
from runtime.printable import printable
from runtime.settings import DatabaseSettings, LogSettings, load_settings
from store.schema import SchemaOutOfDate, ensure_current

app = typer.Typer(help="Create, list, revoke and rotate API tokens. Needs only DATABASE_URL.", no_args_is_help=True)

T = TypeVar("T")
TokenId = Annotated[int, typer.Argument(min=1, help="The token's id, from `tokens list`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("create")
def create_command(
    name: Annotated[
        str, typer.Argument(help="The person or program that uses the token. The audit log shows this name.")
    ],
    role: Annotated[Role, typer.Option(help="The token's role; each role includes the ones before it.")],
    expires_in_days: Annotated[int, typer.Option(min=1, max=MAX_LIFETIME_DAYS, help="Lifetime in days.")] = 90,
    never_expires: Annotated[bool, typer.Option("--never-expires", help="The token has no expiry time.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a token and print it. It cannot be shown again."""
    try:
        wanted = NewToken(name=name, role=role, expires_in_days=None if never_expires else expires_in_days)
    except ValidationError as error:
        raise typer.BadParameter("; ".join(each["msg"] for each in error.errors())) from error
    _print_issued(_run(lambda tokens, actor, now: tokens.create(wanted, actor, now)), as_json=as_json)


@app.command("list")
def list_command(
    include_inactive: Annotated[bool, typer.Option("--all", help="Include revoked and expired tokens.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the tokens, newest first, without their secrets."""
    rows = _run(lambda tokens, _actor, now: _all(tokens, now, active=None if include_inactive else True))
    if as_json:
        typer.echo("[" + ",\n ".join(json.dumps(row.model_dump(mode="json")) for row in rows) + "]")
        return
    typer.echo(f"{'id':<5} {'name':<24} {'role':<9} {'status':<8} {'begins with':<17} {'expires':<17} last used")
    for row in rows:
        typer.echo(
            f"{row.id:<5} {printable(row.name):<24} {row.role:<9} {row.status:<8} {row.prefix:<17} "
            f"{_instant(row.expires_at):<17} {_instant(row.last_used_at)}"
        )


@app.command("revoke")
def revoke_command(token_id: TokenId) -> None:
    """Revoke a token and end the sessions that it opened, at once and on every instance."""
    _run(lambda tokens, actor, now: tokens.revoke(token_id, actor, now))
    typer.echo(f"Token {token_id} is revoked.")


@app.command("rotate")
def rotate_command(
    token_id: TokenId,
    grace_minutes: Annotated[
        int, typer.Option(min=0, max=MAX_GRACE_MINUTES, help="Minutes for which the old token is still accepted.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Replace a token by a new one with the same name, role and lifetime. It cannot be shown again."""
    grace = timedelta(minutes=grace_minutes)
    _print_issued(_run(lambda tokens, actor, now: tokens.rotate(token_id, grace, actor, now)), as_json=as_json)


async def _all(tokens: Tokens, now: datetime, *, active: bool | None) -> list[Token]:
    rows: list[Token] = []
    cursor: str | None = None
    while True:
        page = await tokens.page(TokenFilters(active=active, cursor=cursor), now)
        rows += page.rows
        cursor = page.next_cursor
        if cursor is None:
            return rows


def _run(command: Callable[[Tokens, Actor, datetime], Awaitable[T]]) -> T:
    # Only warnings are logged: the command prints its result, and the audit log has its changes.
    configure_logging(LogSettings(log_format="console", log_level="WARNING"), "admin-api")
    return asyncio.run(_with_tokens(load_settings(DatabaseSettings), command))


async def _with_tokens(settings: DatabaseSettings, command: Callable[[Tokens, Actor, datetime], Awaitable[T]]) -> T:
    engine = build_engine(settings, application_name="admin-api-tokens")
    actor = Actor(kind="command", name=_user(), role=Role.ADMIN, request_id=uuid4().hex)
    try:
        async with reading(engine):
            await ensure_current(engine)
        return await command(Tokens(engine), actor, datetime.now(UTC))
    except OutcomeUnknown as error:
        sys.exit(
            f"admin-api: Postgres did not confirm the commit ({error.__cause__}), so the change may or may not be "
            "stored. Run `tokens list` before you repeat the command."
        )
    except (ApiError, SchemaOutOfDate) as error:
        sys.exit(f"admin-api: {error.__cause__ or error}")
    finally:
        await engine.dispose()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        return f"uid {os.getuid()}"


def _print_issued(token: IssuedToken, *, as_json: bool) -> None:
    typer.echo(json.dumps(token.model_dump(mode="json"), indent=2) if as_json else token.token)
    if not as_json:
        expires = f"until {_instant(token.expires_at)} UTC" if token.expires_at else "without an expiry time"
        note = f"Token {token.id} ({printable(token.name)}, {token.role}) is valid {expires}. It is not shown again."
        typer.echo(note, err=True)  # to stderr, so that TOKEN=$(...) contains only the token


def _instant(instant: datetime | None) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if instant is not None else "never"
