"""The licences of everything that the images contain from others. An unknown or forbidden one stops the release."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ALLOWED: Final = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MPL-2.0", "PSF-2.0"),
        *("Unlicense", "Zlib"),
    }
)
OTHER_NAMES: Final = {
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""Names in older metadata. `BSD License` does not say which clauses; both variants are allowed."""


@dataclass(frozen=True, order=True)
class Licensed:
    kind: str
    """`python` or `npm`."""
    name: str
    version: str
    licence: str


def is_allowed(expression: str) -> bool:
    """Of a choice, one part must be allowed; of a combination, each. A list of classifiers is a combination."""
    text = re.sub(r"^\((.*)\)$", r"\1", expression.strip())
    if ";" in text:
        return all(is_allowed(part) for part in text.split(";"))
    parts = _split(text, " AND ")
    if len(parts) > 1:
        return all(is_allowed(part) for part in parts)
    parts = _split(text, " OR ")
    if len(parts) > 1:
        return any(is_allowed(part) for part in parts)
    return OTHER_NAMES.get(text, text) in ALLOWED


def _split(text: str, operator: str) -> list[str]:
    """At the operators that are not inside parentheses."""
    parts, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0 and text.startswith(operator, place):
            parts.append(text[start:place])
            start = place + len(operator)
    return [*parts, text[start:]]


def problems(licensed: Iterable[Licensed]) -> list[str]:
    return [
        f"{each.kind} package {each.name} {each.version}: the licence {each.licence!r} is not allowed or not known"
        for each in licensed
        if not is_allowed(each.licence)
    ]


def locked_names(root: Path) -> set[str]:
    """The Python packages of all images."""
    locks = [*root.glob("services/*/requirements.lock"), root / "tools/exchange-simulator/requirements.lock"]
    return {name for lock in locks for name in re.findall(r"^([\w.-]+)==", lock.read_text(), flags=re.MULTILINE)}


def of_python(root: Path) -> list[Licensed]:
    """From the metadata of the installed packages. Packages for other platforms are not installed and not listed."""
    program = Path(sys.executable).with_name("pip-licenses")
    command = (str(program), "--from=mixed", "--format=json", "--packages", *sorted(locked_names(root)))
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return sorted(Licensed("python", each["Name"], each["Version"], each["License"]) for each in json.loads(answer))


def of_npm(root: Path) -> list[Licensed]:
    """The packages of the dashboard, without those that only build it."""
    lock = json.loads((root / "dashboard/package-lock.json").read_text())
    return sorted(
        Licensed("npm", path.rpartition("node_modules/")[2], each["version"], each.get("license", "UNKNOWN"))
        for path, each in lock["packages"].items()
        if path and not each.get("dev")
    )
