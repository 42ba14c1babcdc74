"""The command with its subcommands."""

import typer

from command_line import backfills, candles, completeness, configs, coverage, doctor, exchanges, runs
from command_line.context import SettingsFile, Token, Url, store_options

app = typer.Typer(
    name="candlekeep",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Manage what Candlekeep collects, and read its runs, candles and coverage.",
    epilog="Exit codes: 0 done; 1 refused by the API, or a failed check; 2 wrong usage or settings; 3 no response, or "
    "unhealthy; 4 the run failed; 5 timeout of --wait; 6 the range of a series is not whole.",
)
app.add_typer(configs.app, name="configs")
app.add_typer(backfills.app, name="backfills")
app.add_typer(runs.app, name="logs")
app.command("stats")(runs.stats)
app.command("status")(runs.status)
app.command("candles")(candles.candles)
app.command("coverage")(coverage.coverage)
app.command("completeness")(completeness.completeness)
app.command("exchanges")(exchanges.exchanges)
app.command("doctor")(doctor.doctor)


@app.callback()
def options(context: typer.Context, url: Url = None, token: Token = None, settings: SettingsFile = None) -> None:
    """Options before the command."""
    store_options(context, url, token, settings)
