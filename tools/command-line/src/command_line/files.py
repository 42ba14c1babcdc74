"""candlekeep configs export and apply: all configs as one file, for example in git."""

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from command_line.client import Api
from command_line.context import api_of
from command_line.failures import BadSettings
from command_line.output import AsJson, cell, console, print_json, print_message

_MARKS: Final = {"add": ("+", "green"), "change": ("~", "yellow"), "remove": ("-", "red"), "keep": ("?", "dim")}


def export_configs(
    context: typer.Context,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead of standard output.")
    ] = None,
) -> None:
    """Print all configs as YAML, for git and for `apply`."""
    text = api_of(context).request("GET", "/configs/export").text
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        print_message(f"{output} is written.")


def apply_configs(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="A file in the format of export, YAML or JSON; - reads standard input.")],
    remove: Annotated[bool, typer.Option("--remove", help="Also delete configs that are not in the file.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the changes.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    confirm_removals: Annotated[
        int | None,
        typer.Option(
            help="The number of configs to be deleted. Needed with --yes if it is more than half of them.", min=0
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Change the configs so that they match a file. The command shows the changes first; all or none are made."""
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
    print_message(f"Applied: {_summary(done['summary'])}.")
    return None


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise BadSettings(f"{file} cannot be read: {error}") from error


def _post(api: Api, content: bytes, query: dict[str, str]) -> dict[str, Any]:
    # JSON is valid YAML, so one content type fits both.
    headers = {"Content-Type": "application/yaml"}
    result: dict[str, Any] = api.request(
        "POST", "/configs/apply", content=content, headers=headers, params=query
    ).json()
    return result


def _changes_anything(result: dict[str, Any]) -> bool:
    return any(result["summary"][name] for name in ("added", "changed", "removed"))


def _show(result: dict[str, Any], *, remove: bool) -> None:
    for change in result["changes"]:
        mark, style = _MARKS[change["action"]]
        name = f"{change['exchange']} {change['symbol']} {','.join(change['timeframes'])}"
        console().print(cell(f"{mark} {name}").plain, style=style, markup=False, highlight=False, soft_wrap=True)
        if change["action"] == "change":
            for field in change["fields"]:
                line = f"    {field['field']}: {cell(field['from']).plain} -> {cell(field['to']).plain}"
                console().print(line, markup=False, highlight=False, soft_wrap=True)
    if not _changes_anything(result):
        print_message("Nothing to do: the configs match the file.")
    if result["summary"]["not_in_file"] and not remove:
        print_message(
            f"{result['summary']['not_in_file']} configs (?) are not in the file and are kept; --remove deletes them."
        )


def _summary(summary: dict[str, int]) -> str:
    return ", ".join(f"{summary[name]} {name}" for name in ("added", "changed", "removed", "unchanged"))
