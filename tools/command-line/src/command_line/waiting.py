"""Waits for the end of a run."""

import time
from collections.abc import Callable
from typing import Any, Final

from command_line.client import Api
from command_line.failures import RunFailed, TimedOut

_POLL_SECONDS: Final = 0.5


def wait_for_run(
    api: Api,
    run_id: str,
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """The row of the run in the run log, after the run has ended. Raises `TimedOut`."""
    deadline = clock() + seconds
    while True:
        found = api.get("/execution-logs", run_id=run_id, limit=1)
        if found and found[0]["status"] != "running":
            run: dict[str, Any] = found[0]
            return run
        if clock() >= deadline:
            waiting = "no collector has started it, or it waits for another run of its config"
            state = "it is still running" if found else waiting
            raise TimedOut(f"Run {run_id} has not ended within {seconds:g} s: {state}.")
        sleep(_POLL_SECONDS)


def require_success_of(run: dict[str, Any]) -> None:
    """Raises `RunFailed` with the reason if the run did not succeed."""
    if run["status"] != "success":
        raise RunFailed(f"Run {run['run_id']} {run['status']}: {run['error_class']}: {run['error_message']}")
