"""Manages the database of DATABASE_URL: its schema, its roles, and the age of its audit log."""

import asyncio
import sys
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer
from sqlalchemy.exc import DBAPIError

from runtime.database import build_engine
from runtime.settings import DatabaseSettings, load_settings
from store.audit_retention import MIN_DAYS, Trimmed, trim
from store.grants import LOGINS
from store.migrate import head_revision, upgrade
from store.role_setup import set_up_roles
from store.roles import RolesNotPossible, role_name
from store.schema import SchemaOutOfDate, ensure_current
from store.settings import StoreSettings

_TRIM_SECONDS = 3600.0

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.command("upgrade")
def upgrade_command() -> None:
    """Upgrade the schema to this release. It is safe to run this again, or several times at once."""
    settings = load_settings(StoreSettings)
    _run(
        "cannot upgrade the database of DATABASE_URL",
        upgrade(settings.database_url.get_secret_value(), role_prefix=settings.database_role_prefix),
    )
    typer.echo(f"The schema is at revision {head_revision()}.")


@app.command("check")
def check_command() -> None:
    """Exit with 1 if the schema is older than this release, and print the command to run."""
    _run("", _check(load_settings(DatabaseSettings)))
    typer.echo(f"The schema is current (revision {head_revision()}).")


@app.command("roles")
def roles_command() -> None:
    """Make one role for the owner of the tables and one for each service, with only the rights that it needs.

    DATABASE_URL names a user who may create roles and owns the database, such as the administrator of a managed
    Postgres. It is safe to run this again: it also takes away rights that a role should not have. The passwords come
    from MIGRATIONS_DATABASE_PASSWORD, ADMIN_API_DATABASE_PASSWORD and so on. Tables that exist get the new owner.
    """
    settings = load_settings(StoreSettings)
    prefix, passwords = settings.database_role_prefix, settings.passwords()
    work = set_up_roles(settings.database_url.get_secret_value(), prefix, passwords)
    done = _run("cannot make the roles in the database of DATABASE_URL", work)
    owner, migrations = role_name(prefix, "owner"), role_name(prefix, "migrations")
    typer.echo(f"{owner} owns the tables and cannot log in ({done.handed_over} objects handed over).")
    for login in LOGINS:
        variable = f"{login.name.replace('-', '_').upper()}_DATABASE_PASSWORD"
        password = "password set" if login.name in passwords else f"password not changed ({variable} is empty)"
        typer.echo(f"{role_name(prefix, login.name)}: {password}.")
    if not done.granted:
        typer.echo(
            f"The schema is not at revision {head_revision()}, so no rights on tables were changed. Run "
            f"`python -m store upgrade` as {migrations}: it creates the tables and gives the rights."
        )


@app.command("trim-audit-log")
def trim_command(
    older_than_days: Annotated[
        int, typer.Option(min=MIN_DAYS, max=36_500, help="Remove entries that are older than this number of days.")
    ],
    archive: Annotated[
        Path | None, typer.Option(help="Write the removed entries to this new file (gzip, one JSON object per line).")
    ] = None,
    discard: Annotated[bool, typer.Option("--discard", help="Remove the entries without an archive.")] = False,
) -> None:
    """Remove old entries of the audit log. A new entry records the number of removed entries, their time range, and the
    user.

    Needs the role of migrations: the roles of services cannot remove entries.
    """
    if (archive is None) != discard:
        raise typer.BadParameter("give either --archive FILE or --discard")
    settings = load_settings(DatabaseSettings)
    trimmed = _run("cannot trim the audit log", _trim(settings, timedelta(days=older_than_days), archive))
    if not trimmed.entries:
        typer.echo(f"No entry is older than {older_than_days} days.")
        return
    where = f"archived in {archive} (SHA-256 {trimmed.sha256})" if archive else "discarded"
    typer.echo(f"Removed {trimmed.entries} entries from {trimmed.first} to {trimmed.last}: {where}.")


async def _check(settings: DatabaseSettings) -> None:
    engine = build_engine(settings, application_name="store-check")
    try:
        await ensure_current(engine)
    finally:
        await engine.dispose()


async def _trim(settings: DatabaseSettings, keep: timedelta, archive: Path | None) -> Trimmed:
    settings = settings.model_copy(update={"database_command_timeout_seconds": _TRIM_SECONDS})
    engine = build_engine(settings, application_name="store-trim-audit-log")
    try:
        await ensure_current(engine)
        return await trim(engine, keep=keep, archive=archive)
    finally:
        await engine.dispose()


def _run(failure: str, work: Coroutine[Any, Any, Any]) -> Any:
    """The result of the command. An error that the user can correct is printed as one line."""
    try:
        return asyncio.run(work)
    except (OSError, DBAPIError, asyncpg.PostgresError, RolesNotPossible, SchemaOutOfDate) as error:
        reason = getattr(error, "orig", None) or error
        sys.exit(f"store: {failure}: {reason}" if failure else f"store: {reason}")


if __name__ == "__main__":
    app()
