"""A clock that is set wrong under a running scheduler, or under it and the collector, and right again."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from local_stack.keeper import KeptKafka
from local_stack.system_packages import faketime_library
from support.faults.clock import REREAD_SECONDS, LyingClock
from support.faults.evidence import Evidence
from support.faults.history import now
from support.faults.system import Operated, operated
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
LIE_LASTS = 25.0


@pytest.mark.parametrize("liars", [("scheduler",), ("scheduler", "collector")], ids="-".join)
@pytest.mark.parametrize("lie", [HOUR, -HOUR, 23.5 * HOUR], ids=["ahead", "behind", "next day"])
async def test_a_clock_set_wrong_and_right_again_makes_no_storm_and_no_gap(
    kafka: KeptKafka, database_url: str, tmp_path: Path, lie: float, liars: tuple[str, ...]
) -> None:
    assert LIBRARY is not None
    clock = LyingClock(tmp_path / "ahead-by", LIBRARY)
    clock.be_ahead(0)
    options = system_options(kafka, database_url, tmp_path)
    options = replace(options, overrides={**options.overrides, **dict.fromkeys(liars, clock.environment)})
    async with operated(options, seed=SEED) as system:
        await system.create(30)
        await system.recovered(30)
        since = now()
        system.fault(f"clock set by {lie:+.0f} s", " and ".join(liars))
        clock.be_ahead(lie)
        assert abs(clock.ahead_by() - lie) < 5, "the library does not set the clock"
        for liar in liars:
            child = system.stack.processes[liar].running.child
            assert child is not None
            assert clock.is_preloaded_in(child.pid), f"{liar} does not use the library"
        await asyncio.sleep(LIE_LASTS)  # the fault is that the clock is wrong for a while
        system.fault("clock right again", " and ".join(liars))
        clock.be_ahead(0)
        right_at = now() + REREAD_SECONDS  # the fault ends when the processes see it
        assert await resumed(system, right_at) <= 62, "a minute, and what noticing it takes"
        evidence, violations = await system.settled(until=await system.recovered(30), within=45)
    wrong = [each for each in violations if each.kind is not Kind.EARLY]
    assert wrong == [], "\n".join(map(str, wrong[:20]))
    assert no_earlier_than_the_lie(evidence, lie) == []
    assert storms(evidence, since) == []


def no_earlier_than_the_lie(evidence: Evidence, lie: float) -> list[str]:
    return [
        f"{run.run_id}: {run.scheduled_for - run.started_at:.0f} s early"
        for run in evidence.runs
        if run.trigger == "scheduled" and run.scheduled_for - run.started_at > max(lie, 0) + 2
    ]


def storms(evidence: Evidence, since: float) -> list[str]:
    """Configs that got more ticks than minutes passed, but for the few that setting a clock may add."""
    most = (evidence.collected_at - since) / 60 + 4
    ticks = Counter(tick.config_id for tick in evidence.ticks if tick.trigger == "scheduled")
    return [f"config {config_id}: {count} ticks" for config_id, count in ticks.items() if count > most]


async def resumed(system: Operated, right_at: float) -> float:
    """Seconds until the last config had a tick for a slot of its own again. Not `recovered`: a tick that was emitted
    while the clock was ahead counts the slots of the hours to come as missed.
    """

    async def ticking() -> float:
        evidence = await system._schedule(now())
        first: dict[int, float] = {}
        for tick in evidence.ticks:
            if tick.trigger == "scheduled" and right_at < tick.scheduled_for < evidence.until:
                first[tick.config_id] = min(tick.scheduled_for, first.get(tick.config_id, tick.scheduled_for))
        assert first.keys() == evidence.configs.keys(), f"{len(first)} of {len(evidence.configs)} tick again"
        return max(first.values()) - right_at

    return await eventually(ticking, within=80, every=1)
