import subprocess
from pathlib import Path

import pytest

from support.faults.guards import GUARDS, REPOSITORY, BadPatch, Guard, copied, judge, read_guard

PATCHES = sorted(GUARDS.glob("*.patch"))
GUARD = Guard(name="one", patch=Path("one.patch"), guard="it", test="tests/x.py::test_y", sees="candle (missing|extra)")


@pytest.mark.parametrize("patch", PATCHES, ids=[patch.stem for patch in PATCHES])
def test_every_guard_can_still_be_taken_away_and_its_test_exists(patch: Path) -> None:
    guard = read_guard(patch)
    checked = subprocess.run(
        ["git", "apply", "--check", "--recount", str(patch)],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, f"write {patch} anew, the code under it has changed: {checked.stderr}"
    file, _, test = guard.test.partition("::")
    assert f"def {test.partition('[')[0]}(" in (REPOSITORY / file).read_text()


def test_a_patch_that_does_not_say_what_must_fail_is_refused(tmp_path: Path) -> None:
    patch = tmp_path / "vague.patch"
    patch.write_text("Guard: something\n\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-Test: not here\n+Sees: nor here\n")
    with pytest.raises(BadPatch, match=r"vague\.patch does not say Sees, Test"):
        read_guard(patch)


@pytest.mark.parametrize(
    ("exit_code", "output", "noticed", "why"),
    [
        (1, "E   candle missing, binance|BTC/USDT", True, "candle missing"),
        (
            1,
            "assert not candle missing\nE   StackError: no Kafka",
            False,
            "the test failed for another reason: E   StackError: no Kafka",
        ),
        (0, "1 passed, no candle missing", False, "the test passed"),
        (2, "candle missing", False, "pytest ended with 2"),
        (None, "candle missing", False, "not within 500 s"),
    ],
)
def test_only_a_test_that_fails_for_the_right_reason_has_noticed(
    exit_code: int | None, output: str, noticed: bool, why: str
) -> None:
    verdict = judge(GUARD, exit_code, output)
    assert (verdict.noticed, verdict.why) == (noticed, why)


def test_a_copy_holds_what_is_being_worked_on_and_goes_away() -> None:
    with copied(REPOSITORY) as copy:
        assert (copy / "pyproject.toml").read_bytes() == (REPOSITORY / "pyproject.toml").read_bytes()
        assert (copy / "tests" / "unit" / "faults" / "test_guards.py").exists()
        assert not (copy / ".venv").exists()
    assert not copy.exists()
