"""Places in the code at which a test can make a process fail. Each is between two effects that do not happen
atomically.

    FAILPOINTS="collector.after_candles=kill@3,log_writer.after_write=raise" python -m ...

Failpoints are off unless the environment variable is set. A failpoint that is off costs one look-up in an empty
dictionary. The actions are `kill` (SIGKILL to this process, so nothing is flushed), `raise`, and `sleep:2` (blocks the
whole process for 2 seconds, as SIGSTOP would). With `@3`, the action happens only when the failpoint is reached for the
third time. Without it, the action happens every time.
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
    "scheduler.before_ticks": "Ticks are computed; none is published.",
    "scheduler.after_ticks": "The ticks are published; the schedule is not updated yet.",
    "collector.after_candles": "The candles of a run are published; the end of the run is not.",
    "collector.after_finished": "The end of a run is published; its tick is not committed.",
    "log_writer.before_write": "A batch of run events was read; nothing of it is in the table.",
    "log_writer.after_write": "A batch of run events is in the table; its offsets are not committed.",
    "candle_writer.before_write": "A batch of candles was read; nothing of it is in the table.",
    "candle_writer.before_ledger": "The candles of a batch are written, not its ledger; nothing is committed.",
    "candle_writer.after_write": "A batch of candles is in the table; its offsets are not committed.",
    "backfiller.before_ranges": "Chunks are claimed; their requests are not published.",
    "backfiller.after_ranges": "The requests of claimed chunks are published; the chunks are not marked as requested.",
    "backfiller.after_close": "The results of a batch are in the chunks; its offsets are not committed.",
    "admin_api.after_commit": "A change of a config is committed; the caller has no response yet.",
    "admin_api.before_send": "The oldest rows of the outbox were read; none of them is published.",
    "admin_api.after_send": "The oldest rows of the outbox are published; they are not deleted yet.",
}
"""Every failpoint, with the effects that have already happened at this place and those that have not."""

Action = Literal["kill", "raise", "sleep"]


class FailpointReached(Exception):  # noqa: N818 -- the name states the problem
    """Raised by the action `raise`."""


@dataclass
class _Armed:
    action: Action
    seconds: float
    only_time: int | None
    times_reached: int = 0


_armed: dict[str, _Armed] = {}
"""One dictionary per process, so that a failpoint needs no parameter through every layer."""


def failpoint(name: str) -> None:
    """Perform the action of this failpoint, if it is armed."""
    if _armed and (armed := _armed.get(name)) is not None:
        _reach(name, armed)


def arm_failpoints(environment: Mapping[str, str] = os.environ) -> None:
    """Read the environment, once at start. If items are not valid, it prints one line for each to stderr and exits with
    code 2.
    """
    _armed.clear()
    problems = []
    for item in filter(None, (part.strip() for part in environment.get(VARIABLE, "").split(","))):
        name, _, action = item.partition("=")
        try:
            _armed[_validated(name)] = _parse(action)
        except ValueError as error:
            problems.append(f"{VARIABLE} is not valid: {item!r}: {error}\n")
    if problems:
        sys.stderr.write("".join(problems))
        raise SystemExit(2)
    if _armed:
        log.warning(
            "FAILPOINTS IS SET: this process will fail on purpose",
            action="failpoints_armed",
            failpoints=sorted(_armed),
        )


def _validated(name: str) -> str:
    if name not in FAILPOINTS:
        raise ValueError(f"there is no such failpoint; use one of {', '.join(FAILPOINTS)}")
    return name


def _parse(text: str) -> _Armed:
    action, at, count = text.partition("@")
    if at and not (count.isdecimal() and int(count) > 0):
        raise ValueError("write a whole number from 1 after @")
    only_time = int(count) if at else None
    if action in {"kill", "raise"}:
        return _Armed(cast("Action", action), 0, only_time)
    kind, _, seconds = action.partition(":")
    if kind != "sleep" or not seconds.replace(".", "", 1).isdecimal():
        raise ValueError("the action is kill, raise or sleep:SECONDS")
    return _Armed("sleep", float(seconds), only_time)


def _reach(name: str, armed: _Armed) -> None:
    armed.times_reached += 1
    if armed.only_time not in (None, armed.times_reached):
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
