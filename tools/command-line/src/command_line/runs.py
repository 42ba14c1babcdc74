"""candlekeep logs, stats and status: the runs and their statistics."""

from typing import Annotated, Any, Final

import typer

from command_line.context import api_of
from command_line.following import follow_runs
from command_line.output import (
    AsJson,
    Column,
    cell,
    console,
    format_time,
    print_facts,
    print_json,
    print_json_line,
    print_table,
)

app = typer.Typer(no_args_is_help=True, help="Show the runs.")

_COLUMNS: Final[tuple[Column, ...]] = (
    ("ID", lambda run: run["id"]),
    ("STARTED (UTC)", lambda run: format_time(run["started_at"])),
    ("CONFIG", lambda run: run["config_id"]),
    ("EXCHANGE", lambda run: run["exchange"]),
    ("SYMBOL", lambda run: run["symbol"]),
    ("TRIGGER", lambda run: run["trigger"]),
    ("STATUS", lambda run: run["status"]),
    ("SECONDS", lambda run: run["duration_seconds"]),
    ("CANDLES", lambda run: run["records_collected"]),
    ("ERROR", lambda run: run["error_class"]),
)
_PAGE: Final = 1000

Status = Annotated[str | None, typer.Option(help="Only runs with this status: running, success, failed or skipped.")]
Exchange = Annotated[str | None, typer.Option(help="Only runs of this exchange.")]
Symbol = Annotated[str | None, typer.Option(help="Only runs of this symbol.")]
ConfigOption = Annotated[int | None, typer.Option("--config", help="Only runs of this config.", min=1)]


@app.command("list")
def list_logs(
    context: typer.Context,
    config: ConfigOption = None,
    status: Status = None,
    exchange: Exchange = None,
    symbol: Symbol = None,
    run_id: Annotated[
        str | None, typer.Option(help="Only the run with this id, which `configs trigger` prints.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Only runs that started at this time or later, UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="Only runs that started before this time, UTC.")] = None,
    most: Annotated[int, typer.Option("--most", "-n", help="The largest number of runs.", min=1)] = 20,
    *,
    as_json: AsJson = False,
) -> None:
    """List runs, the latest first."""
    rows = api_of(context).rows(
        "/execution-logs",
        most=most,
        page=_PAGE,
        config_id=config,
        status=status,
        exchange=exchange,
        symbol=symbol,
        run_id=run_id,
        start_date=since,
        end_date=until,
    )
    if as_json:
        return print_json(list(rows))
    print_table(_COLUMNS, rows, nothing="No runs match.")
    return None


@app.command("show")
def show_log(
    context: typer.Context,
    log_id: Annotated[int, typer.Argument(help="The id of the run in the list.", min=1)],
    *,
    as_json: AsJson = False,
) -> None:
    """Show one run, with the result of each timeframe."""
    run = api_of(context).get(f"/execution-logs/{log_id}")
    if as_json:
        return print_json(run)
    print_facts((name.replace("_", " "), value) for name, value in run.items() if name != "metadata")
    print_facts((name.replace("_", " "), value) for name, value in run["metadata"].items() if name != "results")
    for result in run["metadata"].get("results", ()):
        print_facts([("", ""), *((name.replace("_", " "), value) for name, value in result.items())])
    return None


@app.command("tail")
def tail_logs(
    context: typer.Context,
    config: ConfigOption = None,
    exchange: Exchange = None,
    most: Annotated[int, typer.Option("--most", "-n", help="The number of latest runs to begin with.", min=0)] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue with new runs, until Ctrl-C.")] = False,
    *,
    as_json: AsJson = False,
) -> None:
    """Print the latest runs, the oldest first, one line each. With --follow, continue with new runs."""
    api = api_of(context)
    latest = list(api.rows("/execution-logs", most=most, page=_PAGE, config_id=config, exchange=exchange))
    for run in reversed(latest):
        _print_line(run, as_json=as_json)
    if follow:
        for run in follow_runs(api, config_id=config, exchange=exchange):
            _print_line(run, as_json=as_json)


def stats(
    context: typer.Context,
    hours: Annotated[int, typer.Option(help="The number of hours up to now.", min=1, max=720)] = 24,
    *,
    as_json: AsJson = False,
) -> None:
    """Show the statistics of runs."""
    found = api_of(context).get("/stats", hours=hours)
    if as_json:
        return print_json(found)
    print_facts(_facts(found))
    return None


def status(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show the number of configs, the statistics and the latest runs."""
    found = api_of(context).get("/status")
    if as_json:
        return print_json(found)
    counts = [(name, value) for name, value in found.items() if isinstance(value, int)]
    print_facts([*((name.replace("_", " "), value) for name, value in counts), ("", ""), *_facts(found["stats"])])
    print_table(_COLUMNS, found["recent_executions"], nothing="There are no runs yet.")
    return None


def _facts(found: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        (name.replace("_", " "), format_time(value) if name == "last_execution" else value)
        for name, value in found.items()
        if not isinstance(value, dict)
    ] + [(f"errors: {name}", count) for name, count in (found.get("errors_by_class") or {}).items()]


def _print_line(run: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        return print_json_line(run)
    values = [
        format_time(run["started_at"]),
        run["config_id"],
        run["exchange"],
        run["symbol"],
        run["trigger"],
        run["status"],
        f"{run['records_collected']} candles",
        run["error_message"] or "",
    ]
    line = cell("")
    for value in values:
        line.append_text(cell(value)).append(" ")
    console().print(line, soft_wrap=True)
    return None
