"""The history of a test: the operator's calls, the faults, and the changes of the run log.

A call's outcome is `ok` (accepted), `failed` (refused, nothing was changed) or `unknown` (no response: the change may
have happened). The checker accepts both possibilities of an unknown outcome.
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
    """None if a creation got no response."""
    subject: str = ""
    """exchange|symbol of a creation. It identifies a creation that got no response."""
    version: int | None = None
    since: float | None = None
    """When this version began, according to the API."""
    interval_minutes: int | None = None
    enabled: bool | None = None
    run_id: str | None = None
    """Only for a trigger that got a response."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault that the test caused."""

    at: float
    kind: str
    target: str
    until: float | None = None
    """When it ends. None: it has no duration, or its end is not known."""


@dataclass(frozen=True, kw_only=True)
class StatusChange:
    """A run's row has changed. The test polls the table."""

    at: float
    run_id: str
    status: str
    presumed: bool = False
    """The lost-run check closed the run. A real end may replace this status."""


Entry = Call | Fault | StatusChange
_KINDS: dict[str, type[Call] | type[Fault] | type[StatusChange]] = {
    "call": Call,
    "fault": Fault,
    "status_change": StatusChange,
}


@dataclass
class History:
    """Entries in order of time. If a `file` is given, `record` appends each entry to it as a line of JSON."""

    file: Path | None = None
    entries: list[Entry] = field(default_factory=list)

    def record(self, entry: Entry) -> None:
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
    def status_changes(self) -> list[StatusChange]:
        return [entry for entry in self.entries if isinstance(entry, StatusChange)]

    @classmethod
    def read(cls, file: Path) -> "History":
        return cls(entries=list(_entries(file)))


def now() -> float:
    return datetime.now(UTC).timestamp()


def _line(entry: Entry) -> str:
    type_name = next(name for name, each in _KINDS.items() if isinstance(entry, each))
    return json.dumps({"type": type_name} | asdict(entry)) + "\n"


def _entries(file: Path) -> Iterator[Entry]:
    for line in file.read_text().splitlines():
        values: dict[str, Any] = json.loads(line)
        yield _KINDS[values.pop("type")](**values)
