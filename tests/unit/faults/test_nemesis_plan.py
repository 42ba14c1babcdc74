"""A nemesis does the same with the same seed, two or three things at once, and is done in time."""

from collections import defaultdict
from itertools import pairwise

import pytest

from runtime.failpoints import FAILPOINTS, arm_failpoints
from support.faults.nemesis.plan import RESPITE, FaultKind, PlannedFault, Shape, overlaps, plan

ROLES = ("admin-api", "scheduler", "collector", "log-writer", "candle-writer")
SHAPE = Shape(
    processes=tuple(f"{role}{number}" for role in ROLES for number in ("", "-2")),
    exchanges=("binance", "bybit", "coinbase", "kraken", "okx"),
)
MINUTES, RECOVERY = 600.0, 120.0
LONGEST_GAP = 10.0
"""The shortest faults take so long; what is left at the end may be too short for any."""
SEEDS = pytest.mark.parametrize("seed", range(20))


@pytest.fixture(scope="module")
def plans() -> list[tuple[PlannedFault, ...]]:
    return [plan(seed, MINUTES, RECOVERY, SHAPE) for seed in range(20)]


def test_the_same_seed_makes_the_same_plan_and_another_one_another() -> None:
    assert plan(1, MINUTES, RECOVERY, SHAPE) == plan(1, MINUTES, RECOVERY, SHAPE)
    assert plan(1, MINUTES, RECOVERY, SHAPE) != plan(2, MINUTES, RECOVERY, SHAPE)


@SEEDS
def test_every_fault_is_over_when_recovery_begins(seed: int) -> None:
    faults = plan(seed, MINUTES, RECOVERY, SHAPE)
    assert all(0 <= fault.begins < fault.ends <= MINUTES - RECOVERY for fault in faults)
    assert len(faults) > 60


@SEEDS
def test_two_or_three_faults_are_in_force_at_any_time(seed: int) -> None:
    faults = plan(seed, MINUTES, RECOVERY, SHAPE)
    counted: dict[int, float] = defaultdict(float)
    for seconds, count in overlaps(faults, MINUTES - RECOVERY - LONGEST_GAP):
        counted[count] += seconds
    assert counted.keys() == {2, 3}
    assert counted[3] > 100


@SEEDS
def test_a_target_suffers_one_fault_at_a_time_and_has_a_respite_between_two(seed: int) -> None:
    by_target: dict[str, list[PlannedFault]] = defaultdict(list)
    for fault in plan(seed, MINUTES, RECOVERY, SHAPE):
        by_target[fault.target].append(fault)
    for faults in by_target.values():
        for one, next_one in pairwise(faults):
            assert next_one.begins >= one.ends + RESPITE


def test_every_kind_every_process_and_every_failpoint_has_its_turn(plans: list[tuple[PlannedFault, ...]]) -> None:
    faults = [fault for each in plans for fault in each]
    assert {fault.kind for fault in faults} == set(FaultKind)
    assert {fault.target for fault in faults} == {*SHAPE.processes, *SHAPE.exchanges, "postgres", "kafka"}
    armed = {fault.how.partition("=")[0] for fault in faults if fault.kind is FaultKind.FAILPOINT}
    assert armed == set(FAILPOINTS)


def test_failpoints_are_such_as_a_process_understands_and_of_its_own(plans: list[tuple[PlannedFault, ...]]) -> None:
    for fault in [fault for each in plans for fault in each if fault.kind is FaultKind.FAILPOINT]:
        arm_failpoints({"FAILPOINTS": fault.how})
        assert fault.how.startswith(fault.target.removesuffix("-2").replace("-", "_"))
    arm_failpoints({})


def test_a_short_run_has_faults_too() -> None:
    assert len(plan(1, 75, 25, SHAPE)) >= 8
