"""python -m log_writer                  write the run log
python -m log_writer rebuild-stats    count the run log again
"""

import asyncio
import sys

import typer
from sqlalchemy.exc import DBAPIError

from log_writer.app import NAME, build_worker
from log_writer.settings import LogWriterSettings
from log_writer.statistics import recount
from runtime.database import build_engine
from runtime.process.worker import run
from runtime.settings import DatabaseSettings, load_settings
from store.schema import SchemaOutOfDate, ensure_current

_RECOUNT_SECONDS = 3600.0

app = typer.Typer(add_completion=False, help=__doc__)


@app.callback(invoke_without_command=True)
def write_command(context: typer.Context) -> None:
    """Write the run log until a signal."""
    if context.invoked_subcommand is None:
        run(NAME, LogWriterSettings, build_worker)


@app.command("rebuild-stats")
def rebuild_stats_command() -> None:
    """Count the run log again, for example after a restore for which its triggers were disabled. Writers of the log
    wait during the count.
    """
    settings = load_settings(DatabaseSettings)
    settings = settings.model_copy(update={"database_command_timeout_seconds": _RECOUNT_SECONDS})
    asyncio.run(_rebuild(settings))
    typer.echo("The run log is counted again.")


async def _rebuild(settings: DatabaseSettings) -> None:
    engine = build_engine(settings, f"{NAME}-rebuild-stats")
    try:
        await ensure_current(engine)
        await recount(engine)
    except (SchemaOutOfDate, OSError, DBAPIError) as error:
        sys.exit(f"{NAME}: {error}")
    finally:
        await engine.dispose()


if __name__ == "__main__":
    app()
