import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.failpoints import FAILPOINTS, FailpointReached, arm_failpoints, failpoint

REPOSITORY = Path(__file__).parents[3]
NAME = "collector.after_candles"


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm_failpoints({})


def test_nothing_happens_where_nothing_is_armed() -> None:
    arm_failpoints({})
    failpoint(NAME)


def test_an_armed_failpoint_breaks_at_every_arrival_and_another_one_does_not() -> None:
    arm_failpoints({"FAILPOINTS": f"{NAME}=raise"})
    for _ in range(2):
        with pytest.raises(FailpointReached, match=NAME):
            failpoint(NAME)
    failpoint("log_writer.after_write")


def test_a_numbered_failpoint_breaks_at_that_arrival_only() -> None:
    arm_failpoints({"FAILPOINTS": f" {NAME}=raise@2 , log_writer.after_write=sleep:0.0"})
    failpoint(NAME)
    with pytest.raises(FailpointReached):
        failpoint(NAME)
    failpoint(NAME)
    failpoint("log_writer.after_write")


def test_kill_ends_the_process_at_once() -> None:
    program = f"from runtime.failpoints import *; arm_failpoints(); failpoint({NAME!r}); print('still here')"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"FAILPOINTS": f"{NAME}=kill"}, capture_output=True, check=False
    )
    assert (done.returncode, b"still here" in done.stdout) == (-9, False)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ("nowhere=kill", "no such failpoint"),
        (f"{NAME}=explode", "the action is kill, raise or sleep:SECONDS"),
        (NAME, "the action is kill, raise or sleep:SECONDS"),
        (f"{NAME}=sleep:long", "the action is kill, raise or sleep:SECONDS"),
        (f"{NAME}=kill@0", "a whole number from 1"),
    ],
)
def test_what_is_not_understood_is_refused_in_a_line(
    wrong: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        arm_failpoints({"FAILPOINTS": wrong})
    said = capsys.readouterr().err
    assert refused.value.code == 2
    assert said.startswith("FAILPOINTS is not valid: ")
    assert complaint in said
    assert said.count("\n") == 1


def test_the_list_names_exactly_the_places_in_the_services() -> None:
    sources = [path.read_text() for path in (REPOSITORY / "services").glob("*/src/**/*.py")]
    assert {name for text in sources for name in re.findall(r'failpoint\("([^"]+)"\)', text)} == set(FAILPOINTS)
