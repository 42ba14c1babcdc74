"""The plan of a nemesis depends only on its seed, has two or three faults at a time, and ends in time."""

from collections import defaultdict
from itertools import pairwise

import pytest

from exchange_simulator.history import HISTORIES
from exchange_simulator.moods import parse_mood
from runtime.failpoints import FAILPOINTS, arm_failpoints
from support.faults.nemesis.fault_actions import MOOD_REQUESTS
from support.faults.nemesis.histories import plan_histories
from support.faults.nemesis.plan import MOODS, PAUSE_BETWEEN_FAULTS, FaultKind, PlannedFault, Targets, overlaps, plan

ROLES = ("admin-api", "scheduler", "collector", "log-writer", "candle-writer", "backfiller")
TARGETS = Targets(
    processes=tuple(f"{role}{number}" for role in ROLES for number in ("", "-2")),
    exchanges=("binance", "bybit", "coinbase", "kraken", "okx"),
)
MINUTES, RECOVERY = 600.0, 120.0
LONGEST_GAP = 10.0
"""The shortest faults take this long. The rest of the time at the end may be too short for another fault."""
SEEDS = pytest.mark.parametrize("seed", range(20))


@pytest.fixture(scope="module")
def plans() -> list[tuple[PlannedFault, ...]]:
    return [plan(seed, MINUTES, RECOVERY, TARGETS) for seed in range(20)]


def test_the_same_seed_gives_the_same_plan_and_other_seeds_give_others() -> None:
    assert plan(1, MINUTES, RECOVERY, TARGETS) == plan(1, MINUTES, RECOVERY, TARGETS)
    assert plan(1, MINUTES, RECOVERY, TARGETS) != plan(2, MINUTES, RECOVERY, TARGETS)


@SEEDS
def test_every_fault_has_ended_when_recovery_begins(seed: int) -> None:
    faults = plan(seed, MINUTES, RECOVERY, TARGETS)
    assert all(0 <= fault.begins < fault.ends <= MINUTES - RECOVERY for fault in faults)
    assert len(faults) > 60


@SEEDS
def test_two_or_three_faults_are_active_at_any_time(seed: int) -> None:
    faults = plan(seed, MINUTES, RECOVERY, TARGETS)
    counted: dict[int, float] = defaultdict(float)
    for seconds, count in overlaps(faults, MINUTES - RECOVERY - LONGEST_GAP):
        counted[count] += seconds
    assert counted.keys() == {2, 3}
    assert counted[3] > 100


@SEEDS
def test_a_target_has_one_fault_at_a_time_and_a_pause_between_two(seed: int) -> None:
    by_target: dict[str, list[PlannedFault]] = defaultdict(list)
    for fault in plan(seed, MINUTES, RECOVERY, TARGETS):
        by_target[fault.target].append(fault)
    for faults in by_target.values():
        for earlier, later in pairwise(faults):
            assert later.begins >= earlier.ends + PAUSE_BETWEEN_FAULTS


def test_every_kind_every_process_and_every_failpoint_is_planned(plans: list[tuple[PlannedFault, ...]]) -> None:
    faults = [fault for each in plans for fault in each]
    assert {fault.kind for fault in faults} == set(FaultKind)
    assert {fault.target for fault in faults} == {*TARGETS.processes, *TARGETS.exchanges, "postgres", "kafka"}
    armed = {fault.how.partition("=")[0] for fault in faults if fault.kind is FaultKind.FAILPOINT}
    assert armed == set(FAILPOINTS)
    moods = {fault.how for fault in faults if fault.kind is FaultKind.MOOD}
    assert moods == set(MOODS) == set(MOOD_REQUESTS)


@pytest.mark.parametrize("mood", MOODS)
def test_the_simulator_knows_every_mood(mood: str) -> None:
    assert parse_mood({**MOOD_REQUESTS[mood], "exchange": "okx", "for_seconds": 9.5}).exchange == "okx"


def test_the_same_seed_gives_the_same_histories_and_the_simulator_knows_their_fields() -> None:
    markets = [("okx", f"A{number}/USDT") for number in range(60)]
    planned = list(plan_histories(3, markets, 1_800_000_000_000))
    assert planned == list(plan_histories(3, markets, 1_800_000_000_000))
    assert planned != list(plan_histories(4, markets, 1_800_000_000_000))
    facts = [{name: each[name] for name in each if name not in {"exchange", "symbol"}} for each in planned]
    assert {next(iter(each)) for each in facts} == {"listed", "silences", "silent_share"}
    for each in facts:
        HISTORIES.validate_python(each)


def test_failpoints_are_valid_and_belong_to_their_process(plans: list[tuple[PlannedFault, ...]]) -> None:
    for fault in [fault for each in plans for fault in each if fault.kind is FaultKind.FAILPOINT]:
        arm_failpoints({"FAILPOINTS": fault.how})
        assert fault.how.startswith(fault.target.removesuffix("-2").replace("-", "_"))
    arm_failpoints({})


def test_a_short_run_has_faults_too() -> None:
    assert len(plan(1, 75, 25, TARGETS)) >= 8
