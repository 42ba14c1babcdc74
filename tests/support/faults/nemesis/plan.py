"""Plans the faults of a nemesis test as a pure function of a seed, a duration and the targets of the system.

There are three sequences of faults. Two have no pauses, so two faults are always active. The third has pauses, so a
third fault is active half of the time. A target has one fault at a time, and a pause between two faults.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple

from runtime.failpoints import FAILPOINTS

PAUSE_BETWEEN_FAULTS = 8.0
"""Seconds between two faults of one target. In this time a process does its normal work."""
_PAUSES_OF_THIRD_SEQUENCE = (4.0, 12.0)


class FaultKind(StrEnum):
    """The kinds of faults, with their names in the report."""

    KILL = "SIGKILL"
    STOP = "SIGTERM"
    FREEZE = "SIGSTOP"
    FAILPOINT = "failpoint"
    POSTGRES_KILL = "Postgres stopped at once"
    POSTGRES_CONNECTION = "connection to Postgres"
    KAFKA_KILL = "Kafka killed"
    KAFKA_STOP = "Kafka restarted"
    KAFKA_CONNECTION = "connection to Kafka"
    MOOD = "exchange mood"
    UNREADABLE = "unreadable messages"
    REPLAY = "replays"


@dataclass(frozen=True)
class Targets:
    """The parts of the system that have faults: processes by name (`collector-2`), and simulated exchanges."""

    processes: tuple[str, ...]
    exchanges: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PlannedFault:
    """One fault of the plan. `begins` and `ends` are seconds since the nemesis began.

    `how` is the detail of its kind: the value of FAILPOINTS, the mode of a proxy, or the mood of an exchange.
    """

    kind: FaultKind
    target: str
    begins: float
    ends: float
    how: str = ""


class _Choice(NamedTuple):
    weight: int
    shortest: float
    longest: float
    targets: Callable[[Targets], tuple[str, ...]]
    how: Callable[[random.Random, str], str] = lambda _random, _target: ""


def _processes(targets: Targets) -> tuple[str, ...]:
    return targets.processes


def _only(target: str) -> Callable[[Targets], tuple[str, ...]]:
    return lambda _targets: (target,)


def _one_of(*ways: str) -> Callable[[random.Random, str], str]:
    return lambda chooser, _target: chooser.choice(ways)


def _failpoint(chooser: random.Random, process: str) -> str:
    name = chooser.choice([each for each in sorted(FAILPOINTS) if each.startswith(f"{_role(process)}.")])
    return f"{name}={chooser.choice(('kill', 'kill@2', 'kill@5', 'sleep:7@2'))}"


def _role(process: str) -> str:
    """The role as it appears in the names of failpoints: `log_writer` for `log-writer-2`."""
    return process.rstrip("0123456789").rstrip("-").replace("-", "_")


PAGE_MOODS: Mapping[str, Mapping[str, Any]] = {
    "narrow pages": {"max_rows": 2},
    "narrow windows": {"window_candles": 3},
    "since ignored": {"since": "ignored", "max_rows": 5},
    "since exclusive": {"since": "exclusive"},
    "short history": {"horizon": 30},
    "day files": {"files": True},
    "newest first": {"newest_rows": True, "max_rows": 3, "order": "reversed"},
    "unordered": {"order": "shuffled", "repeat_borders": True},
    "lag": {"lag_minutes": 3, "lag_partial": True},
    "long lag": {"lag_minutes": 15},
    "late candles": {"late_minutes": 3, "late_share": 0.3},
    "impossible rows": {"impossible": "mixed", "impossible_share": 0.05},
}
"""Valid replies that prove less than they seem to: the page moods of the exchange simulator."""
MOODS = (
    "rate_limit",
    "503",
    "slow",
    "unreachable",
    "maintenance",
    "truncated",
    "refusal",
    "no candles",
    *PAGE_MOODS,
)

# A restart takes about eight seconds on a busy machine. The fault counts as active for this long.
_CHOICES: Mapping[FaultKind, _Choice] = {
    FaultKind.KILL: _Choice(22, 8, 8, _processes),
    FaultKind.STOP: _Choice(12, 8, 8, _processes),
    FaultKind.FREEZE: _Choice(16, 5, 20, _processes),
    FaultKind.FAILPOINT: _Choice(14, 12, 20, _processes, _failpoint),
    FaultKind.POSTGRES_KILL: _Choice(4, 6, 6, _only("postgres")),
    FaultKind.POSTGRES_CONNECTION: _Choice(8, 5, 15, _only("postgres"), _one_of("delay", "black hole", "reset")),
    FaultKind.KAFKA_KILL: _Choice(3, 10, 10, _only("kafka")),
    FaultKind.KAFKA_STOP: _Choice(3, 10, 10, _only("kafka")),
    FaultKind.KAFKA_CONNECTION: _Choice(
        6, 5, 15, _only("kafka"), _one_of("delay", "black hole", "reset", "drop responses")
    ),
    FaultKind.MOOD: _Choice(20, 8, 20, lambda targets: targets.exchanges, _one_of(*MOODS)),
    # These faults need a working Kafka, so Kafka is their target and has no other fault at the same time.
    FaultKind.UNREADABLE: _Choice(5, 3, 3, _only("kafka")),
    FaultKind.REPLAY: _Choice(2, 8, 8, _only("kafka")),
}


@dataclass
class _AvailableTargets:
    """The time from which each target may have another fault."""

    since: dict[str, float] = field(default_factory=dict)

    def of(self, names: tuple[str, ...], at: float) -> list[str]:
        return [target for target in names if self.since.get(target, 0.0) <= at]


def plan(seed: int, duration: float, recovery: float, targets: Targets) -> tuple[PlannedFault, ...]:
    """Return the faults in order of their begin. The last one ends before `duration - recovery` (both in seconds)."""
    chooser, available = random.Random(seed), _AvailableTargets()
    end = duration - recovery
    sequences = [0.0, 0.0, chooser.uniform(*_PAUSES_OF_THIRD_SEQUENCE)]
    faults: list[PlannedFault] = []
    while (at := min(sequences)) < end:
        sequence = sequences.index(at)
        fault = _draw(chooser, available, targets, at, end)
        if fault is None:
            sequences[sequence] = end
            continue
        faults.append(fault)
        available.since[fault.target] = fault.ends + PAUSE_BETWEEN_FAULTS
        sequences[sequence] = fault.ends + (chooser.uniform(*_PAUSES_OF_THIRD_SEQUENCE) if sequence == 2 else 0.0)
    return tuple(faults)


def _draw(
    chooser: random.Random, available: _AvailableTargets, targets: Targets, at: float, end: float
) -> PlannedFault | None:
    """Draw a fault that begins at `at`. None: no fault of an available target can end in time."""
    possible = {
        kind: candidates
        for kind, choice in _CHOICES.items()
        if at + choice.shortest < end and (candidates := available.of(choice.targets(targets), at))
    }
    if not possible:
        return None
    kind = chooser.choices(list(possible), [_CHOICES[each].weight for each in possible])[0]
    choice, target = _CHOICES[kind], chooser.choice(possible[kind])
    lasts = min(chooser.uniform(choice.shortest, choice.longest), end - at)
    return PlannedFault(kind=kind, target=target, begins=at, ends=at + lasts, how=choice.how(chooser, target))


def overlaps(faults: tuple[PlannedFault, ...], end: float) -> Iterator[tuple[float, int]]:
    """The number of active faults from the begin to `end`, as pairs (seconds, number)."""
    changes = [instant for fault in faults for instant in (fault.begins, fault.ends)]
    instants = sorted({0.0, end, *(instant for instant in changes if instant < end)})
    for begin, after in pairwise(instants):
        middle = (begin + after) / 2
        yield after - begin, sum(fault.begins <= middle < fault.ends for fault in faults)
