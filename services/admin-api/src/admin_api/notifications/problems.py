"""The problems about which notifications are sent: one per exchange and cause. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from admin_api.receivers.settings import SEVERITIES, ProblemKind, Severity


class Cause(NamedTuple):
    """The kind of a problem. Failed runs also have their error class."""

    kind: ProblemKind
    error_class: str = ""

    @property
    def text(self) -> str:
        """The stored form of the cause, such as `failed_runs:banned` or `no_runs`."""
        return f"{self.kind}:{self.error_class}" if self.error_class else self.kind.value


def cause_of(text: str) -> Cause | None:
    """The cause from its stored form; None if this release does not have this cause."""
    kind, _, error_class = text.partition(":")
    return Cause(ProblemKind(kind), error_class) if kind in set(ProblemKind) else None


class Group(NamedTuple):
    """The identity of a problem: all problems of one group become one message."""

    exchange: str
    cause: Cause

    @property
    def severity(self) -> Severity:
        return SEVERITIES[self.cause.kind]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The present problem of a group."""

    group: Group
    since: datetime
    """The time of the first of the present failures, or the time at which the first candles will be lost."""
    size: int
    """The number of configs, runs or series that have the problem."""
    total: int = 0
    """The number of all configs of the exchange; 0 for kinds that do not count configs."""
    example: str = ""
    """One of them, with the text of its error."""
