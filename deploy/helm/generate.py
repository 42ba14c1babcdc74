"""Generates files of the Helm chart: `python deploy/helm/generate.py [--check]`.

It copies the rules of deploy/prometheus and the dashboards of deploy/grafana into the chart, because a chart contains
only its own folder. It writes files/topics.json from the contracts, and the table of values in README.md.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from contracts.topics import ALL_TOPICS
from runtime.kafka.topics import topic_configs

REPOSITORY = Path(__file__).parents[2]
CHART = Path("deploy/helm/candlekeep")
_TABLE = re.compile(r"(?<=<!-- values -->\n)(.*?)(?=<!-- end of values -->)", re.DOTALL)
_KEY = re.compile(r"^( *)([\w-]+):(.*)$")


def generated_files(repository: Path) -> dict[Path, str]:
    """The path in the repository and the text of every generated file."""
    readme = (repository / CHART / "README.md").read_text(encoding="utf-8")
    table = values_table((repository / CHART / "values.yaml").read_text(encoding="utf-8"))
    return {
        **{CHART / "files/prometheus" / path.name: path.read_text(encoding="utf-8") for path in _rules(repository)},
        **{
            CHART / "files/dashboards" / path.name: path.read_text(encoding="utf-8")
            for path in sorted((repository / "deploy/grafana/dashboards").glob("*.json"))
        },
        CHART / "files/topics.json": topics(),
        CHART / "README.md": _TABLE.sub(lambda _: table, readme),
    }


def _rules(repository: Path) -> Iterator[Path]:
    """The files with rules. Other files there are the configuration and the unit tests of rules."""
    for path in sorted((repository / "deploy/prometheus").glob("*.y*ml")):
        if "groups" in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}):
            yield path


def topics() -> str:
    """The topics as the template of Strimzi reads them. Their replicas are a value of the chart."""
    listed = [
        {
            "name": topic.name,
            "partitions": topic.partitions,
            "config": {key: value for key, value in topic_configs(topic, 1).items() if key != "min.insync.replicas"},
        }
        for topic in ALL_TOPICS
    ]
    return json.dumps(listed, indent=2) + "\n"


def values_table(text: str) -> str:
    """A row for each value with a comment directly above it."""
    rows = "".join(
        f"| `{path}` | `{_short(value)}` | {description} |\n" for path, description, value in described_values(text)
    )
    return f"| value | default | description |\n|---|---|---|\n{rows}"


def described_values(text: str) -> Iterator[tuple[str, str, Any]]:
    """The path, the description and the default of each value with a comment, in the order of the file."""
    values = yaml.safe_load(text)
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("# "):
            comment.append(line.strip()[2:])
        elif found := _KEY.match(line):
            path = [*path[: len(found[1]) // 2], found[2]]
            if comment:
                yield ".".join(path), " ".join(comment), _at(values, path)
            comment = []
        else:
            comment = []


def _at(values: Any, path: list[str]) -> Any:
    for part in path:
        values = values[part]
    return values


def _short(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value or '""'


def main() -> None:
    parser = argparse.ArgumentParser(prog="generate.py", description="Generates files of the Helm chart.")
    parser.add_argument("--check", action="store_true", help="change nothing, and exit with 1 if a file is stale")
    check = parser.parse_args().check
    files = generated_files(REPOSITORY)
    stale = [path for path, text in files.items() if not _contains(REPOSITORY / path, text)]
    copied = (REPOSITORY / CHART / "files").rglob("*.*")
    surplus = [path for path in copied if path.relative_to(REPOSITORY) not in files]
    if check and (stale or surplus):
        names = [*map(str, stale), *(str(path.relative_to(REPOSITORY)) for path in surplus)]
        sys.exit(f"stale: {', '.join(names)}. Run: make generate")
    for path in surplus:
        path.unlink()
    for path in stale:
        (REPOSITORY / path).parent.mkdir(parents=True, exist_ok=True)
        (REPOSITORY / path).write_text(files[path], encoding="utf-8")


def _contains(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    main()
