"""What a command prints: a table for people, JSON for programs, each on standard output; words go to standard error."""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]

_STYLES: Final = {"success": "green", "failed": "red", "running": "yellow", "skipped": "dim"}
Column = tuple[str, Callable[[dict[str, Any]], Any]]
"""A heading, and what of a row stands under it."""


def print_json(value: Any) -> None:
    """Indented, as it came."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """One line, for streams."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def print_table(columns: Sequence[Column], rows: Iterable[dict[str, Any]], *, nothing: str) -> None:
    """`nothing` is said when there are no rows."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, _ in columns:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(cell(of(row)) for _, of in columns))
    if table.row_count == 0:
        say(nothing)
        return
    console().print(table)


def print_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Names and values, one per line."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in facts:
        table.add_row(Text(name, style="bold"), cell(value))
    console().print(table)


def say(words: str) -> None:
    """For people, and out of the way of what a program reads."""
    typer.echo(words, err=True)


def console() -> Console:
    """As wide as the terminal; what is not a terminal gets whole lines without colours."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=240, no_color=True)


def cell(value: Any) -> Text:
    """A value as a person reads it. What an exchange said is neither markup nor a command to the terminal."""
    if value is None:
        return Text("-", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, list):
        return Text(",".join(str(each) for each in value))
    if isinstance(value, float):
        return Text(f"{value:g}")
    text = "".join(character if character.isprintable() else " " for character in str(value))
    return Text(text, style=_STYLES.get(text, ""))


def moment(text: str | None) -> str | None:
    """An instant of the API, UTC, to the second."""
    return None if text is None else f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S}"
