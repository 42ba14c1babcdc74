"""The clock of the scheduler, or of scheduler and collector, is set wrong for a while and then correct again."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from local_stack.keeper import KeptKafka
from local_stack.system_packages import faketime_library
from support.faults.clock import REREAD_SECONDS, FakeClock
from support.faults.evidence import Evidence
from support.faults.history import now
from support.faults.system import RunningSystem, running_system
from support.faults.violations import Kind
from support.polling import eventually
from support.whole_system import system_options

LIBRARY = faketime_library()
pytestmark = [
    pytest.mark.faults,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(400),
    pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime: apt-get install libfaketime"),
]
SEED = 20_261_122
HOUR = 3600.0
WRONG_SECONDS = 25.0


@pytest.mark.parametrize("processes", [("scheduler",), ("scheduler", "collector")], ids="-".join)
@pytest.mark.parametrize("offset", [HOUR, -HOUR, 23.5 * HOUR], ids=["ahead", "behind", "next day"])
async def test_a_wrong_clock_that_is_corrected_causes_no_burst_of_ticks_and_no_gap(
    kafka: KeptKafka, database_url: str, tmp_path: Path, offset: float, processes: tuple[str, ...]
) -> None:
    assert LIBRARY is not None
    clock = FakeClock(tmp_path / "ahead-by", LIBRARY)
    clock.set_offset(0)
    options = system_options(kafka, database_url, tmp_path)
    options = replace(options, overrides={**options.overrides, **dict.fromkeys(processes, clock.environment)})
    async with running_system(options, seed=SEED) as system:
        await system.create(30)
        await system.wait_until_recovered(30)
        since = now()
        system.record_fault(f"clock set by {offset:+.0f} s", " and ".join(processes))
        clock.set_offset(offset)
        assert abs(clock.read_offset() - offset) < 5, "the library does not set the clock"
        for process in processes:
            child = system.stack.processes[process].running.child
            assert child is not None
            assert clock.is_preloaded_in(child.pid), f"{process} does not use the library"
        await asyncio.sleep(WRONG_SECONDS)  # the fault lasts for a while
        system.record_fault("clock correct again", " and ".join(processes))
        clock.set_offset(0)
        correct_at = now() + REREAD_SECONDS  # the fault ends when the processes read the file again
        assert await seconds_until_resumed(system, correct_at) <= 62, (
            "one minute, and the time until the processes notice"
        )
        evidence, violations = await system.stop_and_check(until=await system.wait_until_recovered(30), within=45)
    unexpected = [each for each in violations if each.kind is not Kind.EARLY]
    assert unexpected == [], "\n".join(map(str, unexpected[:20]))
    assert runs_earlier_than_the_offset(evidence, offset) == []
    assert bursts(evidence, since) == []


def runs_earlier_than_the_offset(evidence: Evidence, offset: float) -> list[str]:
    return [
        f"{run.run_id}: {run.scheduled_for - run.started_at:.0f} s early"
        for run in evidence.runs
        if run.trigger == "scheduled" and run.scheduled_for - run.started_at > max(offset, 0) + 2
    ]


def bursts(evidence: Evidence, since: float) -> list[str]:
    """Configs that got more ticks than minutes passed. A change of the clock may add four ticks."""
    limit = (evidence.collected_at - since) / 60 + 4
    ticks = Counter(tick.config_id for tick in evidence.ticks if tick.trigger == "scheduled")
    return [f"config {config_id}: {count} ticks" for config_id, count in ticks.items() if count > limit]


async def seconds_until_resumed(system: RunningSystem, correct_at: float) -> float:
    """Seconds until every config had a tick of its own slot again.

    `wait_until_recovered` does not measure this: a tick that was published while the clock was ahead counts the slots
    of the next hours as missed.
    """

    async def all_tick() -> float:
        evidence = await system.schedule_evidence(now())
        first: dict[int, float] = {}
        for tick in evidence.ticks:
            if tick.trigger == "scheduled" and correct_at < tick.scheduled_for < evidence.until:
                first[tick.config_id] = min(tick.scheduled_for, first.get(tick.config_id, tick.scheduled_for))
        assert first.keys() == evidence.configs.keys(), f"{len(first)} of {len(evidence.configs)} configs tick again"
        return max(first.values()) - correct_at

    return await eventually(all_tick, within=80, every=1)
