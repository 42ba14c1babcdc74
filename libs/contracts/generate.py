"""Generates files from the contracts: `python libs/contracts/generate.py [REPOSITORY] [--check]`.

It writes libs/contracts/schemas/<Event>.v<N>.schema.json and docs/events.md. This script is not
part of the package, because the services that import the contracts do not need it.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from contracts.event import Event, event_type
from contracts.topics import ALL_TOPICS, Cleanup, Topic

SCHEMAS = Path("libs/contracts/schemas")
EVENTS_PAGE = Path("docs/events.md")


def generated_files() -> dict[Path, str]:
    """The path in the repository and the text of every generated file."""
    files = {SCHEMAS / schema_name(event): schema_text(event) for topic in ALL_TOPICS for event in topic.events}
    return {**files, EVENTS_PAGE: events_page(ALL_TOPICS)}


def schema_name(event: type[Event]) -> str:
    return f"{event_type(event)}.v{event.model_fields['schema_version'].default}.schema.json"


def schema_text(event: type[Event]) -> str:
    return json.dumps(event.model_json_schema(mode="serialization"), indent=2) + "\n"


def stale_files(repository: Path, files: Mapping[Path, str]) -> list[Path]:
    """The files that differ from the generated text, and the schemas of events that no longer exist."""
    changed = [path for path, text in files.items() if not _contains(repository / path, text)]
    present = {path.relative_to(repository) for path in (repository / SCHEMAS).glob("*.schema.json")}
    return sorted([*changed, *(present - files.keys())])


def _contains(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def events_page(topics: Iterable[Topic]) -> str:
    topics = tuple(topics)
    return "\n".join(
        [
            "# Topics and events",
            "",
            "Generated from `contracts.topics` by `make generate`; do not edit.",
            "The delivery guarantees are in [architecture.md](architecture.md).",
            "[asyncapi.json](asyncapi.json) is the same description for programs.",
            "",
            "```mermaid",
            *_diagram(topics),
            "```",
            "",
            *(line for topic in topics for line in _topic_section(topic)),
        ]
    )


def _diagram(topics: Iterable[Topic]) -> list[str]:
    lines = ["flowchart LR"]
    for topic in topics:
        lines.append(f"  {topic.name}[/{topic.name}/]")
        # Every consumer may send dead letters, so the diagram shows one arrow and not one per consumer.
        producers = ("any consumer",) if not topic.consumers else topic.producers
        lines += [f"  {_node(producer)} --> {topic.name}" for producer in producers]
        lines += [f"  {topic.name} --> {_node(consumer)}" for consumer in topic.consumers]
    return lines


def _node(service: str) -> str:
    return f"{service.replace(' ', '-')}([{service}])"


def _topic_section(topic: Topic) -> list[str]:
    return [
        f"## `{topic.name}`",
        "",
        topic.why,
        "",
        "| key | cleanup | partitions | produced by | consumed by |",
        "|---|---|---|---|---|",
        f"| {' | '.join(_facts(topic))} |",
        "",
        *(line for event in topic.events for line in _event_section(event)),
        *(("A null value (tombstone) means that the key was deleted.", "") if topic.tombstones else ()),
    ]


def _facts(topic: Topic) -> tuple[str, ...]:
    consumers = ", ".join(topic.consumers) or "people"
    key = topic.key.replace("|", r"\|")
    return key, _cleanup(topic), str(topic.partitions), ", ".join(topic.producers), consumers


def _cleanup(topic: Topic) -> str:
    if topic.cleanup is Cleanup.COMPACT:
        return "compact"
    if topic.retention is None:
        return "delete"
    days = topic.retention.days
    return f"delete after {days} day{'' if days == 1 else 's'}"


def _event_section(event: type[Event]) -> list[str]:
    summary = (event.__doc__ or "").strip().splitlines()[0]
    rows = [
        f"| `{name}` | {field.description or ''} |"
        for name, field in (event.model_fields | event.model_computed_fields).items()
        if name not in {*Event.model_fields, "type"}
    ]
    schema = f"../{SCHEMAS.as_posix()}/{schema_name(event)}"
    return [
        f"### {event_type(event)}",
        "",
        f"{summary} ([schema]({schema}))",
        "",
        "| field | meaning |",
        "|---|---|",
        *rows,
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", type=Path, nargs="?", default=Path())
    parser.add_argument(
        "--check", action="store_true", help="write nothing; if files are stale, list them and exit with 1"
    )
    arguments = parser.parse_args()
    files = generated_files()
    stale = stale_files(arguments.repository, files)
    if arguments.check:
        sys.exit(f"stale: {', '.join(map(str, stale))}; run `make generate`" if stale else 0)
    for path in stale:
        target = arguments.repository / path
        if path in files:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(files[path], encoding="utf-8")
        else:
            target.unlink()
        sys.stdout.write(f"{'wrote' if path in files else 'removed'} {path}\n")


if __name__ == "__main__":
    main()
