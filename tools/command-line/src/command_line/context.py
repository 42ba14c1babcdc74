"""What every command is handed: an open connection to the API."""

import os
from pathlib import Path
from typing import Annotated

import typer

from command_line.client import Api
from command_line.settings import FILE_VARIABLE, TOKEN_VARIABLE, URL_VARIABLE, load

Url = Annotated[str | None, typer.Option("--url", help=f"The API's address, else {URL_VARIABLE}.", show_default=False)]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        help=f"Who you are, else {TOKEN_VARIABLE}, which unlike an option is not in the list of processes.",
        show_default=False,
    ),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        help=f"A TOML file with url and token, else {FILE_VARIABLE}, else ~/.config/candlekeep/settings.toml.",
    ),
]


def remember(context: typer.Context, url: str | None, token: str | None, settings: Path | None) -> None:
    """Keep the options that come before the command. The API is only looked for when a command wants it."""
    context.obj = lambda: Api(load(os.environ, url=url, token=token, file=settings))


def api_of(context: typer.Context) -> Api:
    """Open until the command ends. Raises `BadSettings`."""
    api: Api = context.find_root().with_resource(context.obj())
    return api
