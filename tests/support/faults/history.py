"""What happened, as those saw it who made it happen: calls of operators, faults, and what the run log said meanwhile.

A call's outcome is `ok` (answered well), `failed` (refused: nothing was changed) or `unknown` (no answer: it may have
happened). A checker accepts both possibilities of an unknown one.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["ok", "failed", "unknown"]
Verb = Literal["create", "update", "delete", "trigger"]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of the API by the operator of the test. Times are seconds since the epoch."""

    at: float
    verb: Verb
    outcome: Outcome
    config_id: int | None = None
    """None where a creation was not answered."""
    subject: str = ""
    """exchange|symbol, by which an unanswered creation can be found."""
    version: int | None = None
    since: float | None = None
    """When this version began, as the API says."""
    interval_minutes: int | None = None
    enabled: bool | None = None
    run_id: str | None = None
    """Of a trigger that was answered."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    at: float
    what: str
    target: str
    until: float | None = None
    """When it ends; None: at once, or nobody knows."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A run's row changed: what an onlooker of the table saw."""

    at: float
    run_id: str
    status: str
    presumed: bool = False
    """The ending was the sweep's guess, which a real one may replace."""


Entry = Call | Fault | Seen
_KINDS: dict[str, type[Call] | type[Fault] | type[Seen]] = {"call": Call, "fault": Fault, "seen": Seen}


@dataclass
class History:
    """Entries in the order in which they were noted; with a `file` each is in it, as JSON, before `note` returns."""

    file: Path | None = None
    entries: list[Entry] = field(default_factory=list)

    def note(self, entry: Entry) -> None:
        self.entries.append(entry)
        if self.file is not None:
            with self.file.open("a") as lines:
                lines.write(_line(entry))

    @property
    def calls(self) -> list[Call]:
        return [entry for entry in self.entries if isinstance(entry, Call)]

    @property
    def faults(self) -> list[Fault]:
        return [entry for entry in self.entries if isinstance(entry, Fault)]

    @property
    def seen(self) -> list[Seen]:
        return [entry for entry in self.entries if isinstance(entry, Seen)]

    @classmethod
    def read(cls, file: Path) -> "History":
        return cls(entries=list(_entries(file)))


def now() -> float:
    return datetime.now(UTC).timestamp()


def _line(entry: Entry) -> str:
    kind = next(name for name, each in _KINDS.items() if isinstance(entry, each))
    return json.dumps({"kind": kind} | asdict(entry)) + "\n"


def _entries(file: Path) -> Iterator[Entry]:
    for line in file.read_text().splitlines():
        values: dict[str, Any] = json.loads(line)
        yield _KINDS[values.pop("kind")](**values)
