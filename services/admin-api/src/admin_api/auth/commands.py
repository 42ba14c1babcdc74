"""python -m admin_api tokens: for whoever can reach the database, also when the API does not run."""

import asyncio
import getpass
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
from runtime.settings import DatabaseSettings, LogSettings, load_settings
from store.schema import SchemaOutOfDate, ensure_current

app = typer.Typer(help="Make, list, revoke and replace API tokens. Needs DATABASE_URL only.", no_args_is_help=True)

T = TypeVar("T")
TokenId = Annotated[int, typer.Argument(min=1, help="The token's id, as `tokens list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command("create")
def create_command(
    name: Annotated[str, typer.Argument(help="Who or what will use it; the audit log names it.")],
    role: Annotated[Role, typer.Option(help="What it may do.")],
    expires_in_days: Annotated[int, typer.Option(min=1, max=MAX_LIFETIME_DAYS)] = 90,
    never_expires: Annotated[bool, typer.Option("--never-expires")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a token. It is printed this once."""
    try:
        wanted = NewToken(name=name, role=role, expires_in_days=None if never_expires else expires_in_days)
    except ValidationError as error:
        raise typer.BadParameter("; ".join(each["msg"] for each in error.errors())) from error
    _print_issued(_run(lambda tokens, actor, now: tokens.create(wanted, actor, now)), as_json=as_json)


@app.command("list")
def list_command(
    everything: Annotated[bool, typer.Option("--all", help="Revoked and expired ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Which tokens there are, newest first: never their secrets."""
    rows = _run(lambda tokens, _actor, now: _all(tokens, now, active=None if everything else True))
    if as_json:
        typer.echo("[" + ",\n ".join(row.model_dump_json() for row in rows) + "]")
        return
    typer.echo(f"{'id':<5} {'name':<24} {'role':<9} {'status':<8} {'begins with':<17} {'expires':<17} last used")
    for row in rows:
        typer.echo(
            f"{row.id:<5} {row.name:<24} {row.role:<9} {row.status:<8} {row.prefix:<17} "
            f"{_instant(row.expires_at):<17} {_instant(row.last_used_at)}"
        )


@app.command("revoke")
def revoke_command(token_id: TokenId) -> None:
    """End a token at once, on every instance, with the sessions that it opened."""
    _run(lambda tokens, actor, now: tokens.revoke(token_id, actor, now))
    typer.echo(f"Token {token_id} is revoked.")


@app.command("rotate")
def rotate_command(
    token_id: TokenId,
    grace_minutes: Annotated[
        int, typer.Option(min=0, max=MAX_GRACE_MINUTES, help="How long the old one is still accepted.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Replace a token by a new one of the same name, role and lifetime. It is printed this once."""
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


def _run(verb: Callable[[Tokens, Actor, datetime], Awaitable[T]]) -> T:
    # Quiet: what a command says is its output, and what it did is in the audit log.
    configure_logging(LogSettings(log_format="console", log_level="WARNING"), "admin-api")
    return asyncio.run(_with_tokens(load_settings(DatabaseSettings), verb))


async def _with_tokens(settings: DatabaseSettings, verb: Callable[[Tokens, Actor, datetime], Awaitable[T]]) -> T:
    engine = build_engine(settings, application_name="admin-api-tokens")
    actor = Actor(kind="command", name=_user(), role=Role.ADMIN, request_id=uuid4().hex)
    try:
        async with reading(engine):
            await ensure_current(engine)
        return await verb(Tokens(engine), actor, datetime.now(UTC))
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
    typer.echo(token.model_dump_json(indent=2) if as_json else token.token)
    if not as_json:
        expires = f"until {_instant(token.expires_at)} UTC" if token.expires_at else "without end"
        note = f"Token {token.id} ({token.name}, {token.role}) is valid {expires}. It is not shown again."
        typer.echo(note, err=True)  # apart from the token, so that TOKEN=$(...) holds only that


def _instant(instant: datetime | None) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if instant is not None else "never"
