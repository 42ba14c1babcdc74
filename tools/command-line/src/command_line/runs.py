"""candlekeep logs, stats and status: what ran."""

from typing import Annotated, Any, Final

import typer

from command_line.context import api_of
from command_line.following import follow_runs
from command_line.output import (
    AsJson,
    Column,
    cell,
    console,
    moment,
    print_facts,
    print_json,
    print_json_line,
    print_table,
)

app = typer.Typer(no_args_is_help=True, help="What ran.")

_COLUMNS: Final[tuple[Column, ...]] = (
    ("ID", lambda run: run["id"]),
    ("STARTED (UTC)", lambda run: moment(run["started_at"])),
    ("CONFIG", lambda run: run["config_id"]),
    ("EXCHANGE", lambda run: run["exchange"]),
    ("SYMBOL", lambda run: run["symbol"]),
    ("WHY", lambda run: run["trigger"]),
    ("STATUS", lambda run: run["status"]),
    ("SECONDS", lambda run: run["duration_seconds"]),
    ("CANDLES", lambda run: run["records_collected"]),
    ("ERROR", lambda run: run["error_class"]),
)
_PAGE: Final = 1000

Status = Annotated[str | None, typer.Option(help="running, success, failed or skipped.")]
Exchange = Annotated[str | None, typer.Option(help="Only of this exchange.")]
Symbol = Annotated[str | None, typer.Option(help="Only of this symbol.")]
ConfigOption = Annotated[int | None, typer.Option("--config", help="Only of this config.", min=1)]


@app.command("list")
def list_logs(
    context: typer.Context,
    config: ConfigOption = None,
    status: Status = None,
    exchange: Exchange = None,
    symbol: Symbol = None,
    run_id: Annotated[str | None, typer.Option(help="As trigger answered.")] = None,
    since: Annotated[str | None, typer.Option(help="Started at or after this instant, UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="Started before this instant, UTC.")] = None,
    most: Annotated[int, typer.Option("--most", "-n", help="So many, the latest first.", min=1)] = 20,
    *,
    as_json: AsJson = False,
) -> None:
    """Runs, the latest first."""
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
    print_table(_COLUMNS, rows, nothing="There are no such runs.")
    return None


@app.command("show")
def show_log(
    context: typer.Context,
    log_id: Annotated[int, typer.Argument(help="The log's id.", min=1)],
    *,
    as_json: AsJson = False,
) -> None:
    """One run, with what became of each timeframe."""
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
    most: Annotated[int, typer.Option("--most", "-n", help="So many of the latest runs first.", min=0)] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C.")] = False,
    *,
    as_json: AsJson = False,
) -> None:
    """The latest runs, the oldest first; with --follow also what happens from now on, one line each."""
    api = api_of(context)
    latest = list(api.rows("/execution-logs", most=most, page=_PAGE, config_id=config, exchange=exchange))
    for run in reversed(latest):
        _line(run, as_json=as_json)
    if follow:
        for run in follow_runs(api, config_id=config, exchange=exchange):
            _line(run, as_json=as_json)


def stats(
    context: typer.Context,
    hours: Annotated[int, typer.Option(help="Of the last so many hours.", min=1, max=720)] = 24,
    *,
    as_json: AsJson = False,
) -> None:
    """How runs went."""
    found = api_of(context).get("/stats", hours=hours)
    if as_json:
        return print_json(found)
    print_facts(_spoken(found))
    return None


def status(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Everything at a glance."""
    found = api_of(context).get("/status")
    if as_json:
        return print_json(found)
    counts = [(name, value) for name, value in found.items() if isinstance(value, int)]
    print_facts([*((name.replace("_", " "), value) for name, value in counts), ("", ""), *_spoken(found["stats"])])
    print_table(_COLUMNS, found["recent_executions"], nothing="Nothing ran yet.")
    return None


def _spoken(found: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        (name.replace("_", " "), moment(value) if name == "last_execution" else value)
        for name, value in found.items()
        if not isinstance(value, dict)
    ] + [(f"errors: {name}", count) for name, count in (found.get("errors_by_class") or {}).items()]


def _line(run: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        return print_json_line(run)
    words = [
        moment(run["started_at"]),
        run["config_id"],
        run["exchange"],
        run["symbol"],
        run["trigger"],
        run["status"],
        f"{run['records_collected']} candles",
        run["error_message"] or "",
    ]
    line = cell("")
    for word in words:
        line.append_text(cell(word)).append(" ")
    console().print(line, soft_wrap=True)
    return None
