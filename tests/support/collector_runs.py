"""The ends of the runs of a collector, and the types of its fixtures."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

from contracts.runs import RunFinished
from contracts.ticks import TickDue
from support.kafka import Recorder

NOON = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
"""The frozen time of the simulator is half a minute later."""

Publish = Callable[..., Any]
Start = Callable[..., AbstractAsyncContextManager[Any]]


def of_run(tick: TickDue) -> Callable[[Any], bool]:
    return lambda event: event.run_id == tick.run_id


async def end_of(recorder: Recorder, tick: TickDue, within: float = 20) -> RunFinished:
    return await recorder.await_event(RunFinished, of_run(tick), within=within)
