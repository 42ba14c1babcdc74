"""Waiting for a run to end."""

import time
from collections.abc import Callable
from typing import Any, Final

from command_line.client import Api
from command_line.failures import RunFailed, TooLate

_EVERY_SECONDS: Final = 0.5


def wait_for_run(
    api: Api,
    run_id: str,
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """The run as the log has it once it has ended. Raises `TooLate`."""
    ends_at = clock() + seconds
    while True:
        found = api.get("/execution-logs", run_id=run_id, limit=1)
        if found and found[0]["status"] != "running":
            run: dict[str, Any] = found[0]
            return run
        if clock() >= ends_at:
            waiting = "no collector has taken it up, or it waits for another run of its config"
            state = "it is still running" if found else waiting
            raise TooLate(f"Run {run_id} has not ended within {seconds:g} s: {state}.")
        sleep(_EVERY_SECONDS)


def require_success_of(run: dict[str, Any]) -> None:
    """Raises `RunFailed` with its reason."""
    if run["status"] != "success":
        raise RunFailed(f"Run {run['run_id']} {run['status']}: {run['error_class']}: {run['error_message']}")
