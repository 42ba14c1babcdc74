"""A fault test forces its fault: it repeats what leads to the fault until the fault has happened."""

from collections.abc import Awaitable, Callable

import pytest

from contracts.runs import RunFinished
from contracts.topics import RUN_EVENTS
from support.faults.gather import read_events
from support.faults.history import Call
from support.faults.probing import run_status
from support.faults.system import Operated
from support.polling import eventually


async def until_forced(fault: str, attempt: Callable[[], Awaitable[bool]], *, tries: int = 4) -> None:
    """Repeat the attempt until it returns True: the fault has happened. Fails after so many tries."""
    for _ in range(tries):
        if await attempt():
            return
    pytest.fail(f"could not be forced in {tries} tries: {fault}")


async def run_under_way(system: Operated, config_id: int) -> Call:
    """Trigger a config until a run of it is seen while it is running. Exchanges must be slow for that."""
    calls: list[Call] = []

    async def attempt() -> bool:
        calls.append(await system.trigger(config_id))

        return await eventually(lambda: run_status(system, calls[-1].run_id), within=20) == "running"

    await until_forced(f"a run of config {config_id} is under way", attempt)
    return calls[-1]


async def finished_in_kafka(system: Operated, calls: list[Call], *, within: float = 40.0) -> None:
    """Wait until Kafka holds the end of every triggered run, and so its candles, which are sent before."""
    wanted = {call.run_id for call in calls}
    assert None not in wanted, "a trigger was not answered"

    async def all_there() -> bool:
        events = await read_events(system.stack.kafka, system.stack.options.topic_prefix, RUN_EVENTS)
        missing = wanted - {str(event.run_id) for event in events if isinstance(event, RunFinished)}
        assert not missing, f"{len(missing)} of {len(wanted)} runs have not finished"
        return True

    await eventually(all_there, within=within, every=0.5)
