"""The texts of messages. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final, assert_never
from urllib.parse import urlencode

from admin_api.notifications.advice import meaning_of, steps_for
from admin_api.notifications.decisions import MessageKind, Step
from admin_api.notifications.problems import Problem
from admin_api.receivers.sending import MessageType
from admin_api.receivers.settings import ProblemKind, Severity
from runtime.printable import printable

LONGEST_EXAMPLE: Final = 200
MOST_SINGLE: Final = 4
"""The largest number of separate messages for a receiver at once. If there are more, they become one message. After
quiet hours, two messages already become one.
"""
_MOST_LINES: Final = 12
"""The largest number of lines of a message. It is limited, because some services refuse or cut messages with more than
2,000 characters.
"""
_ACTIVE_CHARACTERS: Final = re.compile(r"[<>@`\[\]]|(?<=:)//")
"""Characters with which a text of an exchange could mention people or make links in a chat."""


@dataclass(frozen=True)
class Message:
    title: str
    body: str
    type: MessageType


@dataclass(frozen=True)
class Texts:
    """Writes messages. `dashboard_url`: without it, messages have no links."""

    time_zone: tzinfo
    dashboard_url: str

    def of(self, steps: Sequence[Step], now: datetime) -> list[tuple[Message, Sequence[Step]]]:
        """The messages of one receiver, each with its steps."""
        asking = [step for step in steps if step.message is not None]
        summarised = asking if len(asking) > MOST_SINGLE else [step for step in asking if step.waited]
        if len(summarised) < 2:  # noqa: PLR2004 -- a summary is about several problems
            summarised = []
        single = [step for step in asking if step not in summarised]
        found: list[tuple[Message, Sequence[Step]]] = [
            (self._single(step, step.message, now), [step]) for step in single if step.message is not None
        ]
        return found + ([(self._summary(summarised, now), summarised)] if summarised else [])

    def _single(self, step: Step, kind: MessageKind, now: datetime) -> Message:
        problem = step.problem
        lines = [_sentence(problem, kind), f"{self._period(step, kind, now)}."]
        if problem.example:
            lines.append(f"Example: {problem.example}")
        if kind is MessageKind.PASSED:
            lines.append("It came and went in quiet hours, or while this receiver accepted no message.")
        if kind in {MessageKind.OPENED, MessageKind.REPEATED}:
            lines.append(f"What to do: {steps_for(problem.group.cause)}")
        if self.dashboard_url:
            lines.append(f"Details: {self.dashboard_url}{_page(problem)}")
        return Message(_title(problem, kind), "\n".join(lines), _type(problem, kind))

    def _summary(self, steps: Sequence[Step], now: datetime) -> Message:
        """One message about many problems, for example if the network is down, or after quiet hours."""
        kinds = [step.message for step in steps]
        over = sum(kind in {MessageKind.RESOLVED, MessageKind.PASSED} for kind in kinds)
        counts = [_counted(len(kinds) - over, "problem")] * (len(kinds) > over) + [f"{over} over"] * (over > 0)
        lines = [
            f"- {_state(step.message)}{_short(step.problem)}. {self._period(step, step.message, now)}."
            for step in steps[:_MOST_LINES]
            if step.message is not None
        ]
        if len(steps) > _MOST_LINES:
            lines.append(f"- and {len(steps) - _MOST_LINES} more")
        if all(step.waited for step in steps):
            lines.insert(0, "The quiet hours held these messages back:")
        if self.dashboard_url:
            lines.append(f"Details: {self.dashboard_url}/")
        types = [_type(step.problem, step.message) for step in steps if step.message is not None]
        worst = next(each for each in (MessageType.FAILURE, MessageType.WARNING, MessageType.SUCCESS) if each in types)
        return Message(f"Candlekeep: {' and '.join(counts)}", "\n".join(lines), worst)

    def _period(self, step: Step, kind: MessageKind, now: datetime) -> str:
        problem = step.problem
        begin = self._time(problem.since)
        if kind in {MessageKind.OPENED, MessageKind.REPEATED}:
            if problem.group.cause.kind is ProblemKind.CANDLES_AT_RISK:
                return f"The first are lost forever at {begin}"
            return f"Since {begin}, for {_duration(now - problem.since)}"
        end = step.waiting.last_seen if step.waiting is not None else now
        return f"Last seen at {self._time(end)}"

    def _time(self, at: datetime) -> str:
        return f"{at.astimezone(self.time_zone):%Y-%m-%d %H:%M %Z}"


def example_of(symbol: str, number: str, error: str | None) -> str:
    """An example on one line. `error` is a text of an exchange, so its active characters are removed."""
    text = f"{symbol} ({number})" + (f": {error}" if error else "")
    plain = re.sub(r"\s+", " ", _ACTIVE_CHARACTERS.sub(" ", printable(text)))
    return plain if len(plain) <= LONGEST_EXAMPLE else f"{plain[: LONGEST_EXAMPLE - 1]}…"


def _title(problem: Problem, kind: MessageKind) -> str:
    return f"Candlekeep: {_state(kind)}{_short(problem)}"


def _state(kind: MessageKind) -> str:
    match kind:
        case MessageKind.OPENED:
            return ""
        case MessageKind.REPEATED:
            return "still: "
        case MessageKind.RESOLVED:
            return "resolved: "
        case MessageKind.PASSED:
            return "already over: "
        case _:
            assert_never(kind)


def _short(problem: Problem) -> str:
    exchange, cause = problem.group
    match cause.kind:
        case ProblemKind.FAILED_RUNS:
            return f"{exchange}: runs fail ({cause.error_class}), {_amount(problem)}"
        case ProblemKind.NO_RUNS:
            return f"{exchange}: no runs, {_amount(problem)}"
        case ProblemKind.STUCK_RUNS:
            return f"{exchange}: {_counted(problem.size, 'run')} stuck"
        case ProblemKind.CANDLES_AT_RISK:
            return f"{exchange}: candles of {_counted(problem.size, 'series', 'series')} will be lost"
        case _:
            assert_never(cause.kind)


def _sentence(problem: Problem, kind: MessageKind) -> str:
    exchange, cause = problem.group
    if kind is MessageKind.RESOLVED and cause.kind is ProblemKind.CANDLES_AT_RISK:
        return (
            f"No more candles of {exchange} are about to be lost. Either they were read, or they are lost: the page of "
            "the series shows which."
        )
    tense = "" if kind in {MessageKind.OPENED, MessageKind.REPEATED} else "It is over. The problem was: "
    match cause.kind:
        case ProblemKind.FAILED_RUNS:
            reason = meaning_of(cause.error_class)
            return f"{tense}The last run of {_amount(problem)} of {exchange} failed: {reason} ({cause.error_class})."
        case ProblemKind.NO_RUNS:
            return f"{tense}{_amount(problem)} of {exchange} had no run in three of their intervals."
        case ProblemKind.STUCK_RUNS:
            return f"{tense}{_counted(problem.size, 'run')} of {exchange} did not end within 30 minutes."
        case ProblemKind.CANDLES_AT_RISK:
            return (
                f"{tense}{exchange} will soon stop offering candles of {_counted(problem.size, 'series', 'series')} "
                "that are not stored. Fewer than two scheduled runs are left."
            )
        case _:
            assert_never(cause.kind)


def _amount(problem: Problem) -> str:
    if problem.total > problem.size:
        return f"{problem.size:,} of {_counted(problem.total, 'config')}"
    return f"{'all ' if problem.size > 1 and problem.total else ''}{_counted(problem.size, 'config')}"


def _counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def _type(problem: Problem, kind: MessageKind) -> MessageType:
    if kind in {MessageKind.RESOLVED, MessageKind.PASSED}:
        return MessageType.SUCCESS
    return MessageType.FAILURE if problem.group.severity is Severity.CRITICAL else MessageType.WARNING


def _page(problem: Problem) -> str:
    exchange, cause = problem.group
    match cause.kind:
        case ProblemKind.FAILED_RUNS:
            return f"/runs?{urlencode({'status': 'failed', 'exchange': exchange})}"
        case ProblemKind.STUCK_RUNS:
            return f"/runs?{urlencode({'status': 'running', 'exchange': exchange})}"
        case ProblemKind.NO_RUNS:
            return f"/configs?{urlencode({'exchange': exchange})}"
        case ProblemKind.CANDLES_AT_RISK:
            return "/"
        case _:
            assert_never(cause.kind)


def _duration(length: timedelta) -> str:
    minutes = max(0, int(length.total_seconds()) // 60)
    if minutes < 60:  # noqa: PLR2004 -- minutes of an hour
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days"  # noqa: PLR2004 -- two days
