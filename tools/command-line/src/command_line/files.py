"""candlekeep configs export and apply: configs as a file that can live in git."""

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from command_line.client import Api
from command_line.context import api_of
from command_line.failures import BadSettings
from command_line.output import AsJson, cell, console, print_json, say

_MARKS: Final = {"add": ("+", "green"), "change": ("~", "yellow"), "remove": ("-", "red"), "keep": ("?", "dim")}


def export_configs(
    context: typer.Context,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file, instead of standard output.")] = None,
) -> None:
    """All configs as YAML, to be kept in git and applied again."""
    text = api_of(context).request("GET", "/configs/export").text
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        say(f"{output} is written.")


def apply_configs(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="YAML or JSON as export writes it; - reads standard input.")],
    remove: Annotated[bool, typer.Option("--remove", help="Also remove configs that are not in the file.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    confirm_removals: Annotated[
        int | None,
        typer.Option(help="How many will be removed; needed with --yes where that is more than half.", min=0),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Make the configs as a file says: the difference is shown first, and all of it is done or nothing."""
    api, content, query = api_of(context), _read(file), {"remove": str(remove).lower()}
    expected = _post(api, content, query | {"dry_run": "true"})
    if not as_json:
        _show(expected, remove=remove)
    if dry_run or not _changes_anything(expected):
        return print_json(expected) if as_json else None
    if not yes:
        typer.confirm("Apply this?", abort=True, err=True)
        confirm_removals = expected["confirmation_needed"] if remove else None
    if confirm_removals is not None:
        query["confirm_removals"] = str(confirm_removals)
    done = _post(api, content, query)
    if as_json:
        return print_json(done)
    say(f"Applied: {_summary(done['summary'])}.")
    return None


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise BadSettings(f"{file} cannot be read: {error}") from error


def _post(api: Api, content: bytes, query: dict[str, str]) -> dict[str, Any]:
    """JSON is YAML as well."""
    headers = {"Content-Type": "application/yaml"}
    answer: dict[str, Any] = api.request(
        "POST", "/configs/apply", content=content, headers=headers, params=query
    ).json()
    return answer


def _changes_anything(result: dict[str, Any]) -> bool:
    return any(result["summary"][name] for name in ("added", "changed", "removed"))


def _show(result: dict[str, Any], *, remove: bool) -> None:
    """Line by line, as a diff."""
    for change in result["changes"]:
        mark, style = _MARKS[change["action"]]
        which = f"{change['exchange']} {change['symbol']} {','.join(change['timeframes'])}"
        console().print(cell(f"{mark} {which}").plain, style=style, markup=False, highlight=False, soft_wrap=True)
        if change["action"] == "change":
            for field in change["fields"]:
                said = f"    {field['field']}: {cell(field['from']).plain} -> {cell(field['to']).plain}"
                console().print(said, markup=False, highlight=False, soft_wrap=True)
    if not _changes_anything(result):
        say("Nothing to do: the configs are as the file says.")
    if result["summary"]["not_in_file"] and not remove:
        say(f"{result['summary']['not_in_file']} configs (?) are not in the file and stay; --remove takes them away.")


def _summary(summary: dict[str, int]) -> str:
    return ", ".join(f"{summary[name]} {name}" for name in ("added", "changed", "removed", "unchanged"))
