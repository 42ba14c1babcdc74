"""candlekeep configs: the configs, which define what is collected."""

from typing import Annotated, Any, Final

import typer

from command_line import files
from command_line.context import api_of
from command_line.output import AsJson, Column, format_time, print_facts, print_json, print_message, print_table
from command_line.waiting import require_success_of, wait_for_run

app = typer.Typer(no_args_is_help=True, help="Show and change the configs.")

_COLUMNS: Final[tuple[Column, ...]] = (
    ("ID", lambda config: config["id"]),
    ("EXCHANGE", lambda config: config["exchange"]),
    ("SYMBOL", lambda config: config["symbol"]),
    ("TIMEFRAMES", lambda config: config["timeframes"]),
    ("EVERY", lambda config: f"{config['interval_minutes']} min"),
    ("ENABLED", lambda config: config["enabled"]),
    ("START DATE", lambda config: config.get("start_date")),
    ("DESCRIPTION", lambda config: config["description"]),
)
_PAGE: Final = 100

ConfigId = Annotated[int, typer.Argument(help="The config's id.", min=1)]
ConfigIds = Annotated[list[int], typer.Argument(help="The ids of one or more configs.", min=1)]
Timeframes = Annotated[str, typer.Option("--timeframes", "-t", help="Timeframes, separated by commas: 1m,5m,1h.")]
Every = Annotated[int, typer.Option("--every", "-e", help="Minutes from one run to the next.", min=1)]


@app.command("list")
def list_configs(
    context: typer.Context,
    exchange: Annotated[str | None, typer.Option(help="Only configs of this exchange.")] = None,
    enabled: Annotated[
        bool | None, typer.Option("--enabled/--disabled", help="Only enabled, or only disabled configs.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List all configs, or some of them."""
    rows = api_of(context).rows("/configs", most=None, page=_PAGE, exchange=exchange, enabled=enabled)
    if as_json:
        return print_json(list(rows))
    print_table(_COLUMNS, rows, nothing="No configs match. Create one with `candlekeep configs add`.")
    return None


@app.command("show")
def show_config(context: typer.Context, config_id: ConfigId, *, as_json: AsJson = False) -> None:
    """Show one config."""
    _show(api_of(context).get(f"/configs/{config_id}"), as_json=as_json)


@app.command("add")
def add_config(
    context: typer.Context,
    exchange: Annotated[str, typer.Argument(help="ccxt's exchange id, such as binance.")],
    symbol: Annotated[str, typer.Argument(help="ccxt's symbol: BTC/USDT, or BTC/USDT:USDT for a swap.")],
    timeframes: Timeframes,
    every: Every = 10,
    enabled: Annotated[bool, typer.Option("--enabled/--disabled", help="Whether collection starts now.")] = True,
    description: Annotated[str | None, typer.Option(help="A description for people.")] = None,
    start_date: Annotated[
        str | None, typer.Option(help="Keep the history complete from this day (YYYY-MM-DD, UTC), or from listing.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Create a config. Its first run starts at once."""
    body = {
        "exchange": exchange,
        "symbol": symbol,
        "timeframes": _split(timeframes),
        "interval_minutes": every,
        "enabled": enabled,
        "description": description,
    }
    if start_date is not None:  # an older API does not know the field
        body["start_date"] = start_date
    _show(api_of(context).request("POST", "/configs", json=body).json(), as_json=as_json)


@app.command("set")
def set_config(
    context: typer.Context,
    config_id: ConfigId,
    timeframes: Annotated[
        str | None, typer.Option("--timeframes", "-t", help="Timeframes, separated by commas.")
    ] = None,
    every: Annotated[int | None, typer.Option("--every", "-e", help="Minutes from one run to the next.", min=1)] = None,
    exchange: Annotated[str | None, typer.Option(help="ccxt's exchange id.")] = None,
    symbol: Annotated[str | None, typer.Option(help="ccxt's symbol.")] = None,
    description: Annotated[str | None, typer.Option(help="A description for people. An empty text removes it.")] = None,
    start_date: Annotated[
        str | None,
        typer.Option(help="Keep the history complete from this day, or from listing. An empty text removes it."),
    ] = None,
    if_version: Annotated[
        int | None, typer.Option(help="Change nothing if the config has another version than this.", min=1)
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Change a config. Options that are not given leave the value unchanged."""
    changes: dict[str, Any] = {"exchange": exchange, "symbol": symbol, "interval_minutes": every}
    changes["timeframes"] = None if timeframes is None else _split(timeframes)
    changes = {name: value for name, value in changes.items() if value is not None}
    if description is not None:
        changes["description"] = description or None
    if start_date is not None:
        changes["start_date"] = start_date or None
    if not changes:
        raise typer.BadParameter("Name at least one thing to change, such as --every 5.")
    headers = {} if if_version is None else {"If-Match": f'"{if_version}"'}
    response = api_of(context).request("PUT", f"/configs/{config_id}", json=changes, headers=headers)
    _show(response.json(), as_json=as_json)


@app.command("rm")
def remove_configs(
    context: typer.Context,
    config_ids: ConfigIds,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete configs. Their runs and candles are kept."""
    if not yes:
        typer.confirm(f"Delete {_description_of(config_ids)}?", abort=True, err=True)
    for config_id in config_ids:
        api_of(context).request("DELETE", f"/configs/{config_id}")
        print_message(f"Config {config_id} is deleted.")


@app.command("enable")
def enable_configs(context: typer.Context, config_ids: ConfigIds) -> None:
    """Enable configs. A run starts at once."""
    _switch(context, config_ids, "enable", "is enabled")


@app.command("disable")
def disable_configs(context: typer.Context, config_ids: ConfigIds) -> None:
    """Disable configs. They have no runs until they are enabled again."""
    _switch(context, config_ids, "disable", "is disabled")


@app.command("trigger")
def trigger_config(
    context: typer.Context,
    config_id: ConfigId,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait until the run has ended; exit with 4 if it failed.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="The longest wait in seconds; after it, exit with 5.", min=1)] = 300.0,
    *,
    as_json: AsJson = False,
) -> None:
    """Start a run of a config now, in addition to its schedule. If a run of the config is in progress, the new run
    starts after it.
    """
    api = api_of(context)
    accepted = api.request("POST", f"/configs/{config_id}/trigger").json()
    if not wait:
        if as_json:
            return print_json(accepted)
        print_message(
            f"Run {accepted['run_id']} is requested; `candlekeep logs list --run-id {accepted['run_id']}` shows it."
        )
        return None
    run = wait_for_run(api, accepted["run_id"], timeout)
    if as_json:
        print_json(run)
    else:
        print_message(f"Run {run['run_id']}: {run['status']}, {run['records_collected']} candles.")
    return require_success_of(run)


app.command("export")(files.export_configs)
app.command("apply")(files.apply_configs)


def _switch(context: typer.Context, config_ids: list[int], verb: str, result: str) -> None:
    for config_id in config_ids:
        api_of(context).request("POST", f"/configs/{config_id}/{verb}")
        print_message(f"Config {config_id} {result}.")


def _show(config: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        return print_json(config)
    for warning in config["warnings"]:
        print_message(f"Warning: {warning}")
    facts = [(heading.lower(), of(config)) for heading, of in _COLUMNS]
    history = [("version", config["version"]), ("created", format_time(config["created_at"]))]
    print_facts([*facts, *history, ("changed", format_time(config["updated_at"]))])
    return None


def _split(timeframes: str) -> list[str]:
    return [each.strip() for each in timeframes.split(",") if each.strip()]


def _description_of(config_ids: list[int]) -> str:
    return f"{'config' if len(config_ids) == 1 else 'configs'} {', '.join(str(each) for each in config_ids)}"
