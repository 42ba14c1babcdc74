"""The options before the command, and the API client that a command gets from them."""

import os
from pathlib import Path
from typing import Annotated

import typer

from command_line.client import Api
from command_line.settings import FILE_VARIABLE, TOKEN_VARIABLE, URL_VARIABLE, load

Url = Annotated[
    str | None, typer.Option("--url", help=f"The address of the API. Default: {URL_VARIABLE}.", show_default=False)
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        help=f"The API token. Default: {TOKEN_VARIABLE}, which other users cannot see in the list of processes.",
        show_default=False,
    ),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        help=f"A TOML file with url and token. Default: {FILE_VARIABLE}, then ~/.config/candlekeep/settings.toml.",
    ),
]


def store_options(context: typer.Context, url: str | None, token: str | None, settings: Path | None) -> None:
    """Store the options before the command. The settings are read only if a command needs the API."""
    context.obj = lambda: Api(load(os.environ, url=url, token=token, file=settings))


def api_of(context: typer.Context) -> Api:
    """The API client, which is closed when the command ends. Raises `BadSettings`."""
    api: Api = context.find_root().with_resource(context.obj())
    return api
