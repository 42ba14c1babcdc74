"""Output of commands. Tables and JSON go to standard output, messages to standard error."""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

_STYLES: Final = {"success": "green", "failed": "red", "running": "yellow", "skipped": "dim"}
Column = tuple[str, Callable[[dict[str, Any]], Any]]
"""A heading, and a function that gets the value from a row."""


def print_json(value: Any) -> None:
    """Print indented JSON."""
    typer.echo(_as_json(value, indent=2))


def print_json_line(value: Any) -> None:
    """Print JSON in one line, for streams."""
    typer.echo(_as_json(value))


def print_table(columns: Sequence[Column], rows: Iterable[dict[str, Any]], *, nothing: str) -> None:
    """Print rows as a table, or the message `nothing` if there are no rows."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, _ in columns:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(cell(of(row)) for _, of in columns))
    if table.row_count == 0:
        print_message(nothing)
        return
    console().print(table)


def print_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Print names and values, one per line."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in facts:
        table.add_row(Text(name, style="bold"), cell(value))
    console().print(table)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines to standard output, without control characters."""
    typer.echo("\n".join(map(_printable, lines)))


def print_message(message: str) -> None:
    """Print a message to standard error, because programs read standard output."""
    typer.echo("\n".join(_printable(line) for line in message.split("\n")), err=True)


def console() -> Console:
    """A console of the terminal's width. Output that is not a terminal gets long lines without colours."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=240, no_color=True)


def cell(value: Any) -> Text:
    """A value in a form for people. Control characters and markup in texts of an exchange have no effect."""
    if value is None:
        return Text("-", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, list):
        return Text(
            ("\n" if any(isinstance(each, dict) for each in value) else ",").join(cell(each).plain for each in value)
        )
    if isinstance(value, dict):
        return Text("; ".join(_parts(value)))
    if isinstance(value, float):
        return Text(f"{value:g}")
    text = _printable(str(value))
    return Text(text, style=_STYLES.get(text, ""))


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _as_json(value: Any, indent: int | None = None) -> str:
    """JSON that is safe on a terminal: the encoder escapes only the first 32 control characters."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return "".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text)


def _parts(value: dict[str, Any]) -> list[str]:
    """The entries of an object as texts. A start and an end become one text."""
    others = {name: each for name, each in value.items() if name not in {"start", "end"}}
    spans = [f"{value['start']} to {value['end']}"] if {"start", "end"} <= value.keys() else []
    return [*spans, *(f"{name.replace('_', ' ')}: {cell(each).plain}" for name, each in others.items())]


def format_time(text: str | None) -> str | None:
    """A time of the API in UTC, precise to the second."""
    return None if text is None else f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S}"
