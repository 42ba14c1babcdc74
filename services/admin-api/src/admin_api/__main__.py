"""python -m admin_api            serve the API
python -m admin_api resync     announce every config again, which is how a new Kafka cluster is filled
python -m admin_api tokens     make, list, revoke and replace API tokens
python -m admin_api openapi    print the API's description
"""

import asyncio
import json
import sys
from datetime import UTC, datetime

import typer
import uvloop
from pydantic import SecretStr

from admin_api.app import build_api
from admin_api.auth import commands
from admin_api.configs.service import resync
from admin_api.process import listen_to_signals, serve
from admin_api.settings import AdminApiSettings
from admin_api.writes.transactions import DATABASE_PROBLEMS, reading
from runtime.database import build_engine
from runtime.failpoints import arm_failpoints
from runtime.logs import configure_logging
from runtime.settings import DatabaseSettings, load_settings
from store.schema import SchemaOutOfDate, ensure_current

app = typer.Typer(add_completion=False, help=__doc__)
app.add_typer(commands.app, name="tokens")


@app.callback(invoke_without_command=True)
def serve_command(context: typer.Context) -> None:
    """Serve the API until a signal."""
    if context.invoked_subcommand is not None:
        return
    settings = load_settings(AdminApiSettings)
    configure_logging(settings, "admin-api")
    arm_failpoints()

    async def main() -> int:
        stop = asyncio.Event()
        listen_to_signals(stop)
        return await serve(settings, stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(main()))


@app.command("resync")
def resync_command() -> None:
    """Queue every config for announcement. Needs Postgres only: the relay of a running API sends them."""
    count = asyncio.run(_resync(load_settings(DatabaseSettings)))
    typer.echo(f"Queued {count} configs in the outbox; a running admin-api sends them as soon as Kafka answers.")


async def _resync(settings: DatabaseSettings) -> int:
    engine = build_engine(settings, application_name="admin-api-resync")
    try:
        async with reading(engine):
            await ensure_current(engine)
        return await resync(engine, datetime.now(UTC))
    except (*DATABASE_PROBLEMS, SchemaOutOfDate) as error:
        sys.exit(f"admin-api: {error.__cause__ or error}")
    finally:
        await engine.dispose()


@app.command("openapi")
def openapi_command() -> None:
    """Print openapi.json, from which clients are generated."""
    settings = AdminApiSettings(
        candlekeep_admin_token=SecretStr("x" * 24),
        database_url=SecretStr("postgresql://nowhere/nothing"),
        kafka_bootstrap_servers="nowhere:1",
    )
    typer.echo(json.dumps(build_api(settings).app.openapi(), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    app()
