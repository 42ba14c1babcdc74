"""Places where a test lets a process break: the moments between two effects at which a crash hurts most.

    FAILPOINTS="collector.after_candles=kill@3,log_writer.after_write=raise" python -m ...

Off unless the environment says so; then a reached failpoint costs one look at an empty dictionary. The actions are
`kill` (SIGKILL to ourselves: nothing is flushed, nobody is told), `raise`, and `sleep:2` (the whole process stands
still for so many seconds, as under SIGSTOP). `@3` acts on the third arrival only; without it every arrival counts.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, assert_never, cast

from runtime.logs import log

VARIABLE: Final = "FAILPOINTS"

FAILPOINTS: Final[Mapping[str, str]] = {
    "scheduler.before_ticks": "Ticks are decided, none has left.",
    "scheduler.after_ticks": "Kafka has the ticks, the schedule does not know yet.",
    "collector.after_candles": "Kafka has a run's candles, nobody was told that the run ended.",
    "collector.after_finished": "A run's end is announced, its tick is not committed.",
    "log_writer.before_write": "A batch of run events is in hand, nothing of it in the table.",
    "log_writer.after_write": "A batch of run events is in the table, its offsets are not committed.",
    "candle_writer.before_write": "A batch of candles is in hand, nothing of it in the table.",
    "candle_writer.after_write": "A batch of candles is in the table, its offsets are not committed.",
    "admin_api.after_commit": "A change of a config is committed, the caller has no answer.",
    "admin_api.before_send": "The outbox's oldest rows are in hand, Kafka has none of them.",
    "admin_api.after_send": "Kafka has the outbox's oldest rows, they are not deleted.",
}
"""Every place, and what has happened there and what has not."""

Action = Literal["kill", "raise", "sleep"]


class FailpointReached(Exception):  # noqa: N818 -- it names what happened
    """Raised where the environment asked for it."""


@dataclass
class _Armed:
    action: Action
    seconds: float
    only_at: int | None
    arrivals: int = 0


_armed: dict[str, _Armed] = {}
"""Of this process, like its environment: a failpoint must not need a parameter through every layer."""


def failpoint(name: str) -> None:
    """Break here if this failpoint is armed."""
    if _armed and (armed := _armed.get(name)) is not None:
        _reach(name, armed)


def arm_failpoints(environment: Mapping[str, str] = os.environ) -> None:
    """Read the environment, once at start. What it does not know: a line per item on stderr, then exit 2."""
    _armed.clear()
    problems = []
    for item in filter(None, (part.strip() for part in environment.get(VARIABLE, "").split(","))):
        name, _, wanted = item.partition("=")
        try:
            _armed[_known(name)] = _parse(wanted)
        except ValueError as error:
            problems.append(f"{VARIABLE} is not valid: {item!r}: {error}\n")
    if problems:
        sys.stderr.write("".join(problems))
        raise SystemExit(2)
    if _armed:
        log.warning(
            "FAILPOINTS ARE ARMED: this process will break itself", action="failpoints_armed", failpoints=sorted(_armed)
        )


def _known(name: str) -> str:
    if name not in FAILPOINTS:
        raise ValueError(f"no such failpoint, there are {', '.join(FAILPOINTS)}")
    return name


def _parse(wanted: str) -> _Armed:
    action, at, count = wanted.partition("@")
    if at and not (count.isdecimal() and int(count) > 0):
        raise ValueError("after @ comes a whole number from 1")
    only_at = int(count) if at else None
    if action in {"kill", "raise"}:
        return _Armed(cast("Action", action), 0, only_at)
    kind, _, seconds = action.partition(":")
    if kind != "sleep" or not seconds.replace(".", "", 1).isdecimal():
        raise ValueError("the action is kill, raise or sleep:SECONDS")
    return _Armed("sleep", float(seconds), only_at)


def _reach(name: str, armed: _Armed) -> None:
    armed.arrivals += 1
    if armed.only_at not in (None, armed.arrivals):
        return
    log.warning("A failpoint was reached", action="failpoint", failpoint=name, does=armed.action)
    match armed.action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise FailpointReached(name)
        case "sleep":
            time.sleep(armed.seconds)
        case _:
            assert_never(armed.action)
