"""Migrates or checks the database of DATABASE_URL: `python -m store upgrade` or `python -m store check`."""

import asyncio
import sys

import typer
from sqlalchemy.exc import DBAPIError

from runtime.database import build_engine
from runtime.settings import DatabaseSettings, load_settings
from store.migrate import head_revision, upgrade
from store.schema import SchemaOutOfDate, ensure_current

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.command("upgrade")
def upgrade_command() -> None:
    """Upgrade the schema to this release. It is safe to run this again, or several times at once."""
    settings = load_settings(DatabaseSettings)
    try:
        asyncio.run(upgrade(settings.database_url.get_secret_value()))
    except (OSError, DBAPIError) as error:
        sys.exit(f"store: cannot upgrade the database of DATABASE_URL: {error}")
    typer.echo(f"The schema is at revision {head_revision()}.")


@app.command("check")
def check_command() -> None:
    """Exit with 1 if the schema is older than this release, and print the command to run."""
    asyncio.run(_check(load_settings(DatabaseSettings)))


async def _check(settings: DatabaseSettings) -> None:
    engine = build_engine(settings, application_name="store-check")
    try:
        await ensure_current(engine)
    except (SchemaOutOfDate, OSError, DBAPIError) as error:
        sys.exit(f"store: {error}")
    finally:
        await engine.dispose()
    typer.echo(f"The schema is current (revision {head_revision()}).")


if __name__ == "__main__":
    app()
