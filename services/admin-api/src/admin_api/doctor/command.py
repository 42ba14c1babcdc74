"""The command `python -m admin_api doctor`."""

import asyncio
import json
from typing import Annotated

import typer

from admin_api.doctor.database import database_checks
from admin_api.doctor.kafka import kafka_checks
from admin_api.doctor.results import Check, State, exit_code
from runtime.printable import printable
from runtime.settings import DatabaseSettings, KafkaSettings, load_settings


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False) -> None:
    """Check Kafka and Postgres, and say what to do. Exit code 1 if a check failed. It changes nothing."""
    checks = asyncio.run(_checks())
    if as_json:
        typer.echo(json.dumps([check.model_dump(mode="json") for check in checks], indent=2))
    else:
        typer.echo(printable("\n".join(check.line for check in checks), kept="\n"))
        counts = {state: sum(check.state is state for check in checks) for state in State}
        typer.echo(", ".join(f"{count} {state}" for state, count in counts.items()))
    raise typer.Exit(exit_code(checks))


async def _checks() -> list[Check]:
    kafka, database = load_settings(KafkaSettings), load_settings(DatabaseSettings)
    found = await asyncio.gather(kafka_checks(kafka), database_checks(database))
    return [check for checks in found for check in checks]
