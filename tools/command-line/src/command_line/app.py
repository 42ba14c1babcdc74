"""What the command is made of."""

import typer

from command_line import candles, configs, runs
from command_line.context import SettingsFile, Token, Url, remember

app = typer.Typer(
    name="candlekeep",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="What is collected, what ran, and the candles.",
    epilog="Exit codes: 0 done; 1 refused; 2 bad usage or settings; 3 no answer; 4 the run failed; 5 not in time.",
)
app.add_typer(configs.app, name="configs")
app.add_typer(runs.app, name="logs")
app.command("stats")(runs.stats)
app.command("status")(runs.status)
app.command("candles")(candles.candles)


@app.callback()
def options(context: typer.Context, url: Url = None, token: Token = None, settings: SettingsFile = None) -> None:
    """Keep what stands before the command."""
    remember(context, url, token, settings)
