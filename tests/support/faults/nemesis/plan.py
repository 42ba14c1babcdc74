"""What a nemesis will do and when: a pure function of a seed, a duration and the shape of the system.

Two hands are never idle, so two faults are always in force; a third joins them half of the time. A target suffers one
fault at a time, and is left alone for a moment between two.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from runtime.failpoints import FAILPOINTS

RESPITE = 8.0
"""Seconds between two faults of one target: a process that is always dead is no test of what it does alive."""
_THIRD_HAND_RESTS = (4.0, 12.0)


class FaultKind(StrEnum):
    KILL = "SIGKILL"
    STOP = "SIGTERM"
    FREEZE = "SIGSTOP"
    FAILPOINT = "failpoint"
    POSTGRES_KILL = "Postgres stopped at once"
    POSTGRES_WAY = "way to Postgres"
    KAFKA_KILL = "Kafka killed"
    KAFKA_STOP = "Kafka restarted"
    KAFKA_WAY = "way to Kafka"
    MOOD = "exchange mood"
    POISON = "poison"
    REPLAY = "everything again"


@dataclass(frozen=True)
class Shape:
    """What there is to break: processes by name (`collector-2`), and simulated exchanges."""

    processes: tuple[str, ...]
    exchanges: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PlannedFault:
    """`begins` and `ends` in seconds since the nemesis began. `how` is what its kind needs to know: a failpoint as the
    environment takes it, a proxy's mode, an exchange's mood.
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
    targets: Callable[[Shape], tuple[str, ...]]
    how: Callable[[random.Random, str], str] = lambda _random, _target: ""


def _processes(shape: Shape) -> tuple[str, ...]:
    return shape.processes


def _only(target: str) -> Callable[[Shape], tuple[str, ...]]:
    return lambda _shape: (target,)


def _one_of(*ways: str) -> Callable[[random.Random, str], str]:
    return lambda chooser, _target: chooser.choice(ways)


def _failpoint(chooser: random.Random, process: str) -> str:
    name = chooser.choice([each for each in sorted(FAILPOINTS) if each.startswith(f"{_role(process)}.")])
    return f"{name}={chooser.choice(('kill', 'kill@2', 'kill@5', 'sleep:7@2'))}"


def _role(process: str) -> str:
    """`log-writer-2` is a `log_writer`, as its failpoints call it."""
    return process.rstrip("0123456789").rstrip("-").replace("-", "_")


MOODS = ("rate_limit", "503", "slow", "unreachable", "maintenance", "truncated")

# What ends by being started again takes about eight seconds on a busy machine: that long it counts as in force.
_CHOICES: Mapping[FaultKind, _Choice] = {
    FaultKind.KILL: _Choice(22, 8, 8, _processes),
    FaultKind.STOP: _Choice(12, 8, 8, _processes),
    FaultKind.FREEZE: _Choice(16, 5, 20, _processes),
    FaultKind.FAILPOINT: _Choice(14, 12, 20, _processes, _failpoint),
    FaultKind.POSTGRES_KILL: _Choice(4, 6, 6, _only("postgres")),
    FaultKind.POSTGRES_WAY: _Choice(8, 5, 15, _only("postgres"), _one_of("delay", "black hole", "reset")),
    FaultKind.KAFKA_KILL: _Choice(3, 10, 10, _only("kafka")),
    FaultKind.KAFKA_STOP: _Choice(3, 10, 10, _only("kafka")),
    FaultKind.KAFKA_WAY: _Choice(6, 5, 15, _only("kafka"), _one_of("delay", "black hole", "reset", "swallow answers")),
    FaultKind.MOOD: _Choice(12, 8, 20, lambda shape: shape.exchanges, _one_of(*MOODS)),
    # What is sent to topics has Kafka's one place: it must arrive there, or it was no fault.
    FaultKind.POISON: _Choice(5, 3, 3, _only("kafka")),
    FaultKind.REPLAY: _Choice(2, 8, 8, _only("kafka")),
}


@dataclass
class _Free:
    """From when on each target may suffer again."""

    since: dict[str, float] = field(default_factory=dict)

    def of(self, targets: tuple[str, ...], at: float) -> list[str]:
        return [target for target in targets if self.since.get(target, 0.0) <= at]


def plan(seed: int, duration: float, recovery: float, shape: Shape) -> tuple[PlannedFault, ...]:
    """Faults by their begin. The last one ends before `duration - recovery`; both are seconds."""
    chooser, free = random.Random(seed), _Free()
    end = duration - recovery
    hands = [0.0, 0.0, chooser.uniform(*_THIRD_HAND_RESTS)]
    faults: list[PlannedFault] = []
    while (at := min(hands)) < end:
        hand = hands.index(at)
        fault = _draw(chooser, free, shape, at, end)
        if fault is None:
            hands[hand] = end
            continue
        faults.append(fault)
        free.since[fault.target] = fault.ends + RESPITE
        hands[hand] = fault.ends + (chooser.uniform(*_THIRD_HAND_RESTS) if hand == 2 else 0.0)
    return tuple(faults)


def _draw(chooser: random.Random, free: _Free, shape: Shape, at: float, end: float) -> PlannedFault | None:
    """None: nothing that is free can be over in time."""
    possible = {
        kind: targets
        for kind, choice in _CHOICES.items()
        if at + choice.shortest < end and (targets := free.of(choice.targets(shape), at))
    }
    if not possible:
        return None
    kind = chooser.choices(list(possible), [_CHOICES[each].weight for each in possible])[0]
    choice, target = _CHOICES[kind], chooser.choice(possible[kind])
    lasts = min(chooser.uniform(choice.shortest, choice.longest), end - at)
    return PlannedFault(kind=kind, target=target, begins=at, ends=at + lasts, how=choice.how(chooser, target))


def overlaps(faults: tuple[PlannedFault, ...], end: float) -> Iterator[tuple[float, int]]:
    """How many faults are in force, as (seconds, how many), from the begin to `end`."""
    changes = [instant for fault in faults for instant in (fault.begins, fault.ends)]
    instants = sorted({0.0, end, *(instant for instant in changes if instant < end)})
    for begin, after in pairwise(instants):
        middle = (begin + after) / 2
        yield after - begin, sum(fault.begins <= middle < fault.ends for fault in faults)
