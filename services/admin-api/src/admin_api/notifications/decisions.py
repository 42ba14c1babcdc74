"""Decides which messages one receiver gets. Pure: `now` is an argument.

Each problem of a receiver has a notice, which is stored. The life of a notice:

- The problem appears. After the window, the message `opened` follows. The problem may be larger by then.
- The problem lasts: the message `repeated` follows, once per repeat interval.
- The problem is absent for a window: the message `resolved` follows, and the notice ends. If the problem returns
  earlier, it counts as uninterrupted.
- The problem is absent, and `opened` was never sent because of quiet hours or because the receiver did not answer: the
  message `passed` follows. If the problem lasted less than a window, there is no message.

So a receiver gets at most one message per group and window, and no message is lost in quiet hours. If a message could
not be sent, its notice does not change, and the next decision contains the message again. After quiet hours, the
messages that waited are marked, so that one summary has them all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from admin_api.notifications.problems import Group, Problem
from admin_api.receivers.quiet_hours import QuietHours
from admin_api.receivers.settings import ProblemKind, Severity


class MessageKind(StrEnum):
    OPENED = "opened"
    REPEATED = "repeated"
    RESOLVED = "resolved"
    PASSED = "passed"
    """The problem began and ended before a message about it was sent."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """The stored state of a problem for one receiver."""

    problem: Problem
    """The problem as it was last found. Its time is the earliest one, except for a loss, which is in the future."""
    first_seen: datetime
    last_seen: datetime
    reported_at: datetime | None = None
    """The time of the last message. None if no message was sent yet."""


class Policy(NamedTuple):
    window: timedelta
    repeat: timedelta
    quiet_hours: QuietHours
    critical_in_quiet_hours: bool

    def is_quiet(self, group: Group, now: datetime) -> bool:
        """Whether messages of the group wait."""
        woken = self.critical_in_quiet_hours and group.severity is Severity.CRITICAL
        return not woken and self.quiet_hours.contain(now)


class Step(NamedTuple):
    """The change of one notice. If there is no message, only `waiting` is stored."""

    group: Group
    waiting: Notice | None
    """The notice until the message is sent. None if the notice ends."""
    message: MessageKind | None = None
    sent: Notice | None = None
    """The notice after the message was sent."""
    waited: bool = False
    """Whether quiet hours have delayed the message."""

    @property
    def problem(self) -> Problem:
        """The problem that the message is about."""
        if self.waiting is None:
            raise ValueError("a step without a notice has no message")
        return self.waiting.problem


def decide(
    notices: Mapping[Group, Notice], problems: Iterable[Problem], now: datetime, policy: Policy
) -> Sequence[Step]:
    """One step for each notice and each problem, critical ones first."""
    present = {problem.group: problem for problem in problems}
    steps = [
        _step(group, notices.get(group), present.get(group), now, policy)
        for group in dict.fromkeys([*notices, *present])
    ]
    return sorted(steps, key=lambda each: (each.group.severity is not Severity.CRITICAL, each.group))


def _step(group: Group, notice: Notice | None, problem: Problem | None, now: datetime, policy: Policy) -> Step:
    message: MessageKind | None
    if problem is not None:
        seen = _seen(notice, problem, now)
        message, due = _message_about_present(seen, policy)
        after: Notice | None = replace(seen, reported_at=now)
    elif notice is not None and now - notice.last_seen >= policy.window:
        seen, after = notice, None
        message, due = _message_about_absent(notice, policy)
        if message is None:
            return Step(group, None)
    else:
        return Step(group, notice)
    if now < due or policy.is_quiet(group, now):
        return Step(group, seen)
    return Step(group, seen, message, after, waited=policy.is_quiet(group, due))


def _seen(notice: Notice | None, problem: Problem, now: datetime) -> Notice:
    if notice is None:
        return Notice(problem=problem, first_seen=now, last_seen=now)
    if problem.group.cause.kind is not ProblemKind.CANDLES_AT_RISK:
        problem = replace(problem, since=min(notice.problem.since, problem.since))
    return replace(notice, problem=problem, last_seen=max(now, notice.last_seen))


def _message_about_present(seen: Notice, policy: Policy) -> tuple[MessageKind, datetime]:
    """The next message, and the time at which it would be sent without quiet hours."""
    if seen.reported_at is None:
        return MessageKind.OPENED, seen.first_seen + policy.window
    return MessageKind.REPEATED, seen.reported_at + policy.repeat


def _message_about_absent(notice: Notice, policy: Policy) -> tuple[MessageKind | None, datetime]:
    due = notice.last_seen + policy.window
    if notice.reported_at is not None:
        return MessageKind.RESOLVED, due
    return (MessageKind.PASSED if notice.last_seen - notice.first_seen >= policy.window else None), due
