"""Forces the fault of a test: repeats an attempt until the fault has happened."""

from collections.abc import Awaitable, Callable

import pytest

from contracts.runs import RunFinished
from contracts.topics import RUN_EVENTS
from support.faults.collect_evidence import read_events
from support.faults.history import Call
from support.faults.process_state import run_status
from support.faults.system import RunningSystem
from support.polling import eventually


async def until_forced(fault: str, attempt: Callable[[], Awaitable[bool]], *, tries: int = 4) -> None:
    """Repeat the attempt until it returns True: the fault has happened. Fail after `tries` attempts."""
    for _ in range(tries):
        if await attempt():
            return
    pytest.fail(f"could not be forced in {tries} tries: {fault}")


async def trigger_until_running(system: RunningSystem, config_id: int) -> Call:
    """Trigger a config until one of its runs is observed as running. The exchange must be slow."""
    calls: list[Call] = []

    async def attempt() -> bool:
        calls.append(await system.trigger(config_id))

        return await eventually(lambda: run_status(system, calls[-1].run_id), within=20) == "running"

    await until_forced(f"a run of config {config_id} is in progress", attempt)
    return calls[-1]


async def wait_for_finished_runs(system: RunningSystem, calls: list[Call], *, within: float = 40.0) -> None:
    """Wait until Kafka holds the end of every triggered run, and so its candles, which are sent before."""
    wanted = {call.run_id for call in calls}
    assert None not in wanted, "a trigger got no response"

    async def all_finished() -> bool:
        events = await read_events(system.stack.kafka, system.stack.options.topic_prefix, RUN_EVENTS)
        missing = wanted - {str(event.run_id) for event in events if isinstance(event, RunFinished)}
        assert not missing, f"{len(missing)} of {len(wanted)} runs have not finished"
        return True

    await eventually(all_finished, within=within, every=0.5)
