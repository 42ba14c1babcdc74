"""The figures of an abuse test with their limits, as tables for people."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from typing_extensions import override

from support.abuse.attack import Attack


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured value. It must not exceed its limit."""

    name: str
    value: float
    limit: float
    unit: str = ""
    note: str = ""

    @property
    def holds(self) -> bool:
        return self.value <= self.limit

    @override
    def __str__(self) -> str:
        mark = "" if self.holds else "EXCEEDED"
        return f"{self.name:<62} {self.value:>10.3f} {self.limit:>10.3f} {self.unit:<4} {mark:<9}{self.note}".rstrip()


@dataclass(frozen=True, kw_only=True)
class AttackCount:
    """The number of requests of one attack, and their answers."""

    attack: Attack
    sent: int
    answers: Mapping[str, int]

    @property
    def unexpected(self) -> Counter[str]:
        return Counter({answer: n for answer, n in self.answers.items() if answer not in self.attack.allowed})

    @override
    def __str__(self) -> str:
        answers = ", ".join(f"{answer}: {n}" for answer, n in sorted(self.answers.items()))
        return f"{self.attack.name:<38} {self.attack.caller:<26} {self.sent:>6}  {answers}"


def report(figures: Sequence[Figure], counts: Sequence[AttackCount]) -> str:
    return "\n".join(
        [
            f"{'attack':<38} {'caller':<26} {'sent':>6}  answers",
            *map(str, counts),
            "",
            f"{'figure':<62} {'value':>10} {'limit':>10}",
            *map(str, figures),
        ]
    )
