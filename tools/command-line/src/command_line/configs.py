"""candlekeep configs: what is collected."""

from typing import Annotated, Any, Final

import typer

from command_line import files
from command_line.context import api_of
from command_line.output import AsJson, Column, moment, print_facts, print_json, print_table, say
from command_line.waiting import require_success_of, wait_for_run

app = typer.Typer(no_args_is_help=True, help="What is collected.")

_COLUMNS: Final[tuple[Column, ...]] = (
    ("ID", lambda config: config["id"]),
    ("EXCHANGE", lambda config: config["exchange"]),
    ("SYMBOL", lambda config: config["symbol"]),
    ("TIMEFRAMES", lambda config: config["timeframes"]),
    ("EVERY", lambda config: f"{config['interval_minutes']} min"),
    ("ENABLED", lambda config: config["enabled"]),
    ("DESCRIPTION", lambda config: config["description"]),
)
_PAGE: Final = 100

ConfigId = Annotated[int, typer.Argument(help="The config's id.", min=1)]
ConfigIds = Annotated[list[int], typer.Argument(help="One or more ids.", min=1)]
Timeframes = Annotated[str, typer.Option("--timeframes", "-t", help="Separated by commas: 1m,5m,1h.")]
Every = Annotated[int, typer.Option("--every", "-e", help="Minutes from one run to the next.", min=1)]


@app.command("list")
def list_configs(
    context: typer.Context,
    exchange: Annotated[str | None, typer.Option(help="Only of this exchange.")] = None,
    enabled: Annotated[bool | None, typer.Option("--enabled/--disabled", help="Only those.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """All configs, or some."""
    rows = api_of(context).rows("/configs", most=None, page=_PAGE, exchange=exchange, enabled=enabled)
    if as_json:
        return print_json(list(rows))
    print_table(_COLUMNS, rows, nothing="There are no such configs. Make one with `candlekeep configs add`.")
    return None


@app.command("show")
def show_config(context: typer.Context, config_id: ConfigId, *, as_json: AsJson = False) -> None:
    """One config."""
    _show(api_of(context).get(f"/configs/{config_id}"), as_json=as_json)


@app.command("add")
def add_config(
    context: typer.Context,
    exchange: Annotated[str, typer.Argument(help="ccxt's id, such as binance.")],
    symbol: Annotated[str, typer.Argument(help="As ccxt writes it: BTC/USDT, or BTC/USDT:USDT for a swap.")],
    timeframes: Timeframes,
    every: Every = 10,
    enabled: Annotated[bool, typer.Option("--enabled/--disabled", help="Whether it is collected from now on.")] = True,
    description: Annotated[str | None, typer.Option(help="A word for people.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Collect something new. Its first run starts at once."""
    body = {
        "exchange": exchange,
        "symbol": symbol,
        "timeframes": _split(timeframes),
        "interval_minutes": every,
        "enabled": enabled,
        "description": description,
    }
    _show(api_of(context).request("POST", "/configs", json=body).json(), as_json=as_json)


@app.command("set")
def set_config(
    context: typer.Context,
    config_id: ConfigId,
    timeframes: Annotated[str | None, typer.Option("--timeframes", "-t", help="Separated by commas.")] = None,
    every: Annotated[int | None, typer.Option("--every", "-e", help="Minutes from one run to the next.", min=1)] = None,
    exchange: Annotated[str | None, typer.Option(help="ccxt's id.")] = None,
    symbol: Annotated[str | None, typer.Option(help="As ccxt writes it.")] = None,
    description: Annotated[str | None, typer.Option(help="Empty takes it away.")] = None,
    if_version: Annotated[
        int | None, typer.Option(help="Only if this is still its version; else nothing is changed.", min=1)
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Change a config. What is not named stays."""
    changes: dict[str, Any] = {"exchange": exchange, "symbol": symbol, "interval_minutes": every}
    changes["timeframes"] = None if timeframes is None else _split(timeframes)
    changes = {name: value for name, value in changes.items() if value is not None}
    if description is not None:
        changes["description"] = description or None
    if not changes:
        raise typer.BadParameter("Name at least one thing to change, such as --every 5.")
    headers = {} if if_version is None else {"If-Match": f'"{if_version}"'}
    answer = api_of(context).request("PUT", f"/configs/{config_id}", json=changes, headers=headers)
    _show(answer.json(), as_json=as_json)


@app.command("rm")
def remove_configs(
    context: typer.Context,
    config_ids: ConfigIds,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop collecting for good. Logs and candles stay."""
    if not yes:
        typer.confirm(f"Delete {_named(config_ids)}?", abort=True, err=True)
    for config_id in config_ids:
        api_of(context).request("DELETE", f"/configs/{config_id}")
        say(f"Config {config_id} is deleted.")


@app.command("enable")
def enable_configs(context: typer.Context, config_ids: ConfigIds) -> None:
    """Collect from now on; a run starts at once."""
    _switch(context, config_ids, "enable", "is enabled")


@app.command("disable")
def disable_configs(context: typer.Context, config_ids: ConfigIds) -> None:
    """Collect no more, until it is enabled again."""
    _switch(context, config_ids, "disable", "is disabled")


@app.command("trigger")
def trigger_config(
    context: typer.Context,
    config_id: ConfigId,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Until the run has ended; exit 4 if it failed.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most; then exit 5.", min=1)] = 300.0,
    *,
    as_json: AsJson = False,
) -> None:
    """Collect at once, besides the schedule. If a run of the config is going on, the new run starts after it."""
    api = api_of(context)
    accepted = api.request("POST", f"/configs/{config_id}/trigger").json()
    if not wait:
        if as_json:
            return print_json(accepted)
        say(f"Run {accepted['run_id']} is asked for; `candlekeep logs list --run-id {accepted['run_id']}` shows it.")
        return None
    run = wait_for_run(api, accepted["run_id"], timeout)
    if as_json:
        print_json(run)
    else:
        say(f"Run {run['run_id']}: {run['status']}, {run['records_collected']} candles.")
    return require_success_of(run)


app.command("export")(files.export_configs)
app.command("apply")(files.apply_configs)


def _switch(context: typer.Context, config_ids: list[int], verb: str, said: str) -> None:
    for config_id in config_ids:
        api_of(context).request("POST", f"/configs/{config_id}/{verb}")
        say(f"Config {config_id} {said}.")


def _show(config: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        return print_json(config)
    for warning in config["warnings"]:
        say(f"Mind: {warning}")
    facts = [(heading.lower(), of(config)) for heading, of in _COLUMNS]
    since = [("version", config["version"]), ("created", moment(config["created_at"]))]
    print_facts([*facts, *since, ("changed", moment(config["updated_at"]))])
    return None


def _split(timeframes: str) -> list[str]:
    return [each.strip() for each in timeframes.split(",") if each.strip()]


def _named(config_ids: list[int]) -> str:
    return f"{'config' if len(config_ids) == 1 else 'configs'} {', '.join(str(each) for each in config_ids)}"
