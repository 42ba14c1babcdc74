"""candlekeep backfills: ranges of the past to collect."""

from typing import Annotated, Any, Final

import typer

from command_line.context import api_of
from command_line.output import AsJson, Column, format_time, print_facts, print_json, print_message, print_table
from command_line.progress import wait_for_backfill

app = typer.Typer(no_args_is_help=True, help="Collect ranges of the past, and follow their progress.")

_COLUMNS: Final[tuple[Column, ...]] = (
    ("ID", lambda each: each["id"]),
    ("STATE", lambda each: each["state"]),
    ("MODE", lambda each: each["mode"]),
    ("SOURCE", lambda each: each["source"]),
    ("SERIES", lambda each: each["series"]),
    ("START (UTC)", lambda each: format_time(each["start"]) or "listing"),
    ("END (UTC)", lambda each: format_time(each["end"])),
    ("CREATED BY", lambda each: each["created_by"]),
    ("DESCRIPTION", lambda each: each["description"]),
)
_NEVER: Final[tuple[Column, ...]] = (
    ("NEVER AVAILABLE", lambda each: f"{each['exchange']} {each['timeframe']}"),
    ("SERIES", lambda each: each["series"]),
    ("CANDLES", lambda each: each["candles"]),
    ("START (UTC)", lambda each: format_time(each["start"])),
    ("END (UTC)", lambda each: format_time(each["end"])),
    ("CLASS", lambda each: each["absence_class"]),
    ("REASON", lambda each: each["reason"]),
)
_PAGE: Final = 100
_UNITS: Final = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))

BackfillId = Annotated[int, typer.Argument(help="The backfill's id.", min=1)]
IfVersion = Annotated[
    int | None, typer.Option(help="Change nothing if the backfill has another version than this.", min=1)
]
Wait = Annotated[
    bool,
    typer.Option("--wait", "-w", help="Show a progress bar until it is whole; after --timeout, exit with 5."),
]
Timeout = Annotated[float, typer.Option(help="The longest wait in seconds.", min=1)]


@app.command("create")
def create_backfill(
    context: typer.Context,
    config_ids: Annotated[list[int] | None, typer.Option("--config", "-c", help="A config; repeatable.")] = None,
    exchange: Annotated[str | None, typer.Option(help="All configs of this exchange.")] = None,
    symbol: Annotated[str | None, typer.Option(help="All configs of this symbol; * matches any characters.")] = None,
    timeframes: Annotated[
        str | None, typer.Option("--timeframes", "-t", help="Only these timeframes, separated by commas.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="The start of the range, UTC. Default: the listing.")] = None,
    end: Annotated[str | None, typer.Option(help="The end of the range, UTC. Default: now.")] = None,
    reread: Annotated[bool, typer.Option("--all", help="Read the whole range again, not only missing time.")] = False,
    source: Annotated[
        str, typer.Option(help="trades: build the candles that the exchange no longer has from its trades.")
    ] = "candles",
    description: Annotated[str | None, typer.Option(help="A description for people.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the cost; create nothing.")] = False,
    wait: Wait = False,
    timeout: Timeout = 86_400.0,
    *,
    as_json: AsJson = False,
) -> None:
    """Collect a range of the past, of configs that are selected by id, exchange or symbol."""
    select = {"ids": config_ids or None, "exchange": exchange, "symbol": symbol}
    selected = {name: value for name, value in select.items() if value is not None}
    if not selected:
        raise typer.BadParameter("Select configs with --config, --exchange or --symbol; --symbol '*' selects all.")
    body: dict[str, Any] = {"select": selected, "start": start, "end": end, "dry_run": dry_run}
    body |= {"mode": "all" if reread else "missing", "description": description}
    if source != "candles":
        body["source"] = source
    if timeframes is not None:
        body["timeframes"] = [each.strip() for each in timeframes.split(",") if each.strip()]
    made = api_of(context).request("POST", "/backfills", json=body).json()
    if dry_run:
        return print_json(made) if as_json else _print_estimate(made["estimate"])
    if wait:
        print_message(f"Backfill {made['id']} is created.")
        made = wait_for_backfill(api_of(context), made["id"], timeout)
    return _show(made, as_json=as_json)


@app.command("list")
def list_backfills(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help="Only active, paused or cancelled ones.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the backfills, newest first."""
    rows = api_of(context).rows("/backfills", most=None, page=_PAGE, state=state)
    if as_json:
        return print_json(list(rows))
    print_table(_COLUMNS, rows, nothing="No backfills. Create one with `candlekeep backfills create`.")
    return None


@app.command("show")
def show_backfill(
    context: typer.Context,
    backfill_id: BackfillId,
    wait: Wait = False,
    timeout: Timeout = 86_400.0,
    *,
    as_json: AsJson = False,
) -> None:
    """Show one backfill with its progress."""
    api = api_of(context)
    found = wait_for_backfill(api, backfill_id, timeout) if wait else api.get(f"/backfills/{backfill_id}")
    _show(found, as_json=as_json)


@app.command("pause")
def pause_backfill(context: typer.Context, backfill_id: BackfillId, if_version: IfVersion = None) -> None:
    """Pause a backfill. Requests in progress end."""
    _change(context, backfill_id, "pause", if_version)


@app.command("resume")
def resume_backfill(context: typer.Context, backfill_id: BackfillId, if_version: IfVersion = None) -> None:
    """Resume a paused backfill."""
    _change(context, backfill_id, "resume", if_version)


@app.command("cancel")
def cancel_backfill(context: typer.Context, backfill_id: BackfillId, if_version: IfVersion = None) -> None:
    """Cancel a backfill for good. Collected candles stay."""
    _change(context, backfill_id, "cancel", if_version)


def _change(context: typer.Context, backfill_id: int, verb: str, if_version: int | None) -> None:
    headers = {} if if_version is None else {"If-Match": f'"{if_version}"'}
    changed = api_of(context).request("POST", f"/backfills/{backfill_id}/{verb}", headers=headers).json()
    print_message(f"Backfill {backfill_id} is {changed['state']}.")


def _show(backfill: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        return print_json(backfill)
    facts = [(heading.lower(), of(backfill)) for heading, of in _COLUMNS]
    progress = backfill.get("progress")
    if progress is not None:
        facts += [
            ("percent", progress["percent"]),
            ("missing candles", f"{progress['missing_candles']} of {progress['candles']}"),
            ("reached (utc)", format_time(progress["reached"])),
            ("candles per second", progress["candles_per_second"]),
            ("whole at (utc)", format_time(progress["eta"])),
            ("chunks", {state: count for state, count in progress["chunks"].items() if count} or None),
            ("next attempt (utc)", format_time(progress["next_attempt_at"])),
            ("reasons", [each["reason"] for each in progress["reasons"]] or None),
        ]
    print_facts([*facts, ("version", backfill["version"])])
    return None


def _print_estimate(estimate: dict[str, Any]) -> None:
    most = "at most " if estimate["is_upper_bound"] else ""
    seconds = estimate["duration_seconds"]
    print_facts(
        [
            ("series", estimate["series"]),
            ("candles", f"{most}{estimate['candles']}"),
            ("requests", f"{most}{estimate['requests']}"),
            ("weight", estimate["weight"]),
            ("duration", None if seconds is None else f"{most}{_duration(seconds)} at the full rate"),
            ("disk", f"{most}{_size(estimate['disk_bytes'])}"),
        ]
    )
    for each in estimate["exchanges"]:
        if (tape := each.get("from_trades")) is not None:
            print_facts(_facts_of_tape(each["exchange"], tape))
    if estimate["never_available"]:
        print_table(_NEVER, estimate["never_available"], nothing="")


def _facts_of_tape(exchange: str, tape: dict[str, Any]) -> list[tuple[str, Any]]:
    unknown = tape["series_of_unknown_cost"]
    return [
        (f"{exchange} from trades", f"{tape['candles']} candles, about {tape['requests']} requests"),
        ("cost unknown of", f"{unknown} series, without a known number of trades" if unknown else None),
        ("estimated from", tape["basis"]),
    ]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _size(count: int) -> str:
    return next((f"{count / size:.1f} {unit}" for unit, size in _UNITS if count >= size), f"{count} bytes")
