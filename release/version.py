"""The version of the release. pyproject.toml has it; other places repeat it, because their formats cannot refer to it.

python -m release.version            print it
python -m release.version 0.2.0      write it everywhere, as `make version VERSION=0.2.0` does
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
FORMAT: Final = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")
PLACES: Final = {
    "pyproject.toml": r'^version = "(.+)"$',
    "libs/*/pyproject.toml": r'^version = "(.+)"$',
    "services/*/pyproject.toml": r'^version = "(.+)"$',
    "tools/*/pyproject.toml": r'^version = "(.+)"$',
    "dashboard/package.json": r'^  "version": "(.+)",$',
    "dashboard/package-lock.json": r'"name": "candlekeep-dashboard",\s+"version": "(.+)",$',
    "deploy/compose*.yaml": r"\$\{IMAGE_TAG:-([^}]+)\}",
    "deploy/.env.example": r"^# IMAGE_TAG=(.+)$",
    "deploy/helm/*/Chart.yaml": r"^(?:version|appVersion): \"?([^\"\n]+)\"?$",
}
"""Globs of files and the expression whose first group is the version. Not every file of a glob must have one."""


def version(root: Path = ROOT) -> str:
    """Raises ValueError if pyproject.toml has none."""
    found = re.search(PLACES["pyproject.toml"], (root / "pyproject.toml").read_text(), flags=re.MULTILINE)
    if found is None:
        raise ValueError("pyproject.toml has no version")
    return found[1]


def places(root: Path = ROOT) -> Iterator[tuple[Path, re.Match[str]]]:
    """Every place that has the version, in the order of the files."""
    for glob, expression in PLACES.items():
        for path in sorted(root.glob(glob)):
            for match in re.finditer(expression, path.read_text(), flags=re.MULTILINE):
                yield path, match


def differences(root: Path = ROOT) -> list[str]:
    expected = version(root)
    return [f"{path.relative_to(root)}: {match[1]}" for path, match in places(root) if match[1] != expected]


def write(new: str, root: Path = ROOT) -> list[Path]:
    """The files that were changed. Raises ValueError for a version in another format."""
    if not FORMAT.fullmatch(new):
        raise ValueError(f"{new!r} is no version such as 0.2.0 or 0.2.0rc1")
    changed = []
    for path in dict.fromkeys(path for path, _ in places(root)):
        text = path.read_text()
        for found, match in reversed(list(places(root))):
            if found == path:
                text = text[: match.start(1)] + new + text[match.end(1) :]
        if text != path.read_text():
            path.write_text(text)
            changed.append(path)
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m release.version")
    parser.add_argument("version", nargs="?")
    new = parser.parse_args().version
    if new is None:
        print(version())
        return
    try:
        for path in write(new):
            print(path.relative_to(ROOT))
    except ValueError as error:
        sys.exit(f"version: {error}")


if __name__ == "__main__":
    main()
