"""python -m admin_api            serve the API
python -m admin_api resync     publish every config again, for example to a new Kafka cluster
python -m admin_api tokens     create, list, revoke and replace API tokens
python -m admin_api openapi    print the OpenAPI description
python -m admin_api doctor     check Kafka and Postgres, and say what to do
python -m admin_api notify-test    send a test message to the receivers of NOTIFY_URLS
python -m admin_api sign-in-link    print the path of a link that signs a browser in once
"""

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import Annotated

from runtime.imports import without_garbage_collection

with without_garbage_collection():  # garbage collection would take a quarter of the start
    import typer
    from pydantic import SecretStr

    from admin_api.app import NAME, build_api, build_worker
    from admin_api.auth import commands
    from admin_api.auth.sign_in_links import link_path, new_code
    from admin_api.configs.service import resync
    from admin_api.doctor.command import doctor
    from admin_api.notifications.command import notify_test
    from admin_api.settings import AdminApiSettings
    from admin_api.writes.transactions import DATABASE_PROBLEMS, reading
    from runtime.database import build_engine
    from runtime.process.worker import run
    from runtime.settings import DatabaseSettings, load_settings
    from store.schema import SchemaOutOfDate, ensure_current

app = typer.Typer(add_completion=False, help=__doc__)
app.add_typer(commands.app, name="tokens")
app.command("doctor")(doctor)
app.command("notify-test")(notify_test)


@app.callback(invoke_without_command=True)
def serve_command(context: typer.Context) -> None:
    """Serve the API until a signal."""
    if context.invoked_subcommand is None:
        run(NAME, AdminApiSettings, build_worker)


@app.command("resync")
def resync_command() -> None:
    """Put every config into the outbox. Needs only Postgres: the relay of a running admin-api publishes them."""
    count = asyncio.run(_resync(load_settings(DatabaseSettings)))
    typer.echo(f"Queued {count} configs in the outbox; a running admin-api publishes them as soon as Kafka answers.")


async def _resync(settings: DatabaseSettings) -> int:
    engine = build_engine(settings, application_name=f"{NAME}-resync")
    try:
        async with reading(engine):
            await ensure_current(engine)
        return await resync(engine, datetime.now(UTC))
    except (*DATABASE_PROBLEMS, SchemaOutOfDate) as error:
        sys.exit(f"{NAME}: {error.__cause__ or error}")
    finally:
        await engine.dispose()


@app.command("sign-in-link")
def sign_in_link_command(
    bootstrap_token: Annotated[str, typer.Option(envvar="CANDLEKEEP_ADMIN_TOKEN", show_envvar=True)],
) -> None:
    """Print the path of a link that signs a browser in as the bootstrap admin: once, within ten minutes."""
    typer.echo(link_path(new_code(bootstrap_token, datetime.now(UTC))))


@app.command("openapi")
def openapi_command() -> None:
    """Print the OpenAPI description, from which clients are generated."""
    settings = AdminApiSettings(
        candlekeep_admin_token=SecretStr("x" * 24),
        database_url=SecretStr("postgresql://nowhere/nothing"),
        kafka_bootstrap_servers="nowhere:1",
    )
    typer.echo(json.dumps(build_api(settings).app.openapi(), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    app()
