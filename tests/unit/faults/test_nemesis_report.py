from support.faults.evidence import Evidence, Rules, Run, Tick
from support.faults.history import Call, History
from support.faults.nemesis.plan import FaultKind, PlannedFault
from support.faults.nemesis.report import report
from support.faults.nemesis.run import NemesisResult, markets
from support.faults.violations import Kind, Violation


def a_run(number: int, status: str = "success", error_class: str | None = None) -> Run:
    return Run(
        run_id=str(number),
        config_id=number,
        trigger="scheduled",
        scheduled_for=100.0 * number,
        status=status,
        started_at=100.0 * number + 0.25 * number,
        finished_at=None,
        deadline_at=None,
        error_class=error_class,
    )


def a_result(*violations: Violation) -> NemesisResult:
    tick = Tick(run_id="1", config_id=1, trigger="scheduled", scheduled_for=100, emitted_at=100, missed_slots=3)
    return NemesisResult(
        seed=7,
        seconds=90,
        configs=3,
        evidence=Evidence(
            history=History(
                entries=[Call(at=1, verb="create", outcome="ok"), Call(at=2, verb="update", outcome="unknown")]
            ),
            until=400,
            collected_at=500,
            rules=Rules(spread_ms=1, on_time_from=150),
            runs=(a_run(1), a_run(2), a_run(3, "failed", "unavailable")),
            ticks=(tick, tick),
            skipped_slots={1: 2},
        ),
        violations=list(violations),
        injected=[PlannedFault(kind=FaultKind.KILL, target="collector", begins=0, ends=8)],
        missed=[],
        faults_ended_at=90,
        recovered_after=12.4,
    )


def row(text: str, name: str) -> list[str]:
    return [
        cell.strip() for line in text.splitlines() if line.startswith(f"| {name} |") for cell in line.split("|")[2:-1]
    ]


def test_a_report_has_a_column_per_run_and_a_row_per_figure() -> None:
    text = report([a_result(), a_result()])
    assert row(text, "faults") == ["1: 1 SIGKILL"] * 2
    assert row(text, "runs") == ["3: 2 success, 1 failed"] * 2
    assert row(text, "runs without success, by reason") == ["1: 1 unavailable"] * 2
    assert row(text, "calls of the operator") == ["2: 1 ok, 1 unknown"] * 2
    missed = "3 covered by a later tick, 2 skipped because the schedule changed"  # a copy of a tick counts once
    assert row(text, "slots without a tick of their own") == [missed] * 2
    assert row(text, "slots judged")[0].startswith("0,")
    assert row(text, "recovered after the last fault within") == ["12 s"] * 2
    assert row(text, "latest start, from one minute after the last fault on") == ["0.75 s, of 2 runs"] * 2
    assert row(text, "violations") == ["**0**"] * 2


def test_violations_are_counted_by_kind_and_the_first_are_shown() -> None:
    text = report([a_result(*(Violation(Kind.LOST_SLOT, f"config {number}", "noon") for number in range(9)))])
    assert row(text, "violations") == ["9: 9 lost slot"]
    assert "config 0: noon" in text
    assert "config 8" not in text


def test_two_hundred_configs_have_different_markets_and_none_of_these_is_spare() -> None:
    chosen, spare = markets(200)
    assert len({*chosen, *spare}) == len(chosen) + len(spare)
    assert len(chosen) == 200
