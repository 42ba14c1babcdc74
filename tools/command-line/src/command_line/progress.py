"""Waits until a backfill is whole, with a progress bar on the terminal."""

import time
from collections.abc import Callable
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from command_line.client import Api
from command_line.failures import Refused, TimedOut, Unreachable
from command_line.output import format_time

_POLL_SECONDS: Final = 2.0


def wait_for_backfill(
    api: Api,
    backfill_id: int,
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """The backfill with its progress when it is whole. The bar goes to standard error.

    Raises `TimedOut`, and `Refused` if the backfill is cancelled. While the API does not answer, it waits on.
    """
    deadline = clock() + seconds
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rest]}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"Backfill {backfill_id}", total=100.0, rest="")
        while True:
            try:
                found: dict[str, Any] = api.get(f"/backfills/{backfill_id}")
            except Unreachable:
                if clock() >= deadline:
                    raise
            else:
                progress = found["progress"]
                bar.update(task, completed=progress["percent"] or 0.0, rest=describe(found))
                if progress["is_whole"]:
                    return found
                if found["state"] == "cancelled":
                    raise Refused(f"Backfill {backfill_id} was cancelled at {progress['percent'] or 0.0:g} %.")
                if clock() >= deadline:
                    raise TimedOut(f"Backfill {backfill_id} is not whole within {seconds:g} s: {describe(found)}.")
            sleep(min(_POLL_SECONDS, max(0.0, deadline - clock())))


def describe(backfill: dict[str, Any]) -> str:
    """The progress in words: the state, the time reached, the rate and the estimated end."""
    progress = backfill["progress"]
    parts = [] if backfill["state"] == "active" else [backfill["state"]]
    if progress["reached"] is not None:
        parts.append(f"reached {format_time(progress['reached'])} UTC")
    if progress["candles_per_second"] is not None:
        parts.append(f"{progress['candles_per_second']:.0f} candles/s")
    if progress["eta"] is not None:
        parts.append(f"whole at {format_time(progress['eta'])} UTC")
    return ", ".join(parts) or "nothing is known yet"
