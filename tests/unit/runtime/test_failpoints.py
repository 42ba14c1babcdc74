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


def test_an_unarmed_failpoint_does_nothing() -> None:
    arm_failpoints({})
    failpoint(NAME)


def test_an_armed_failpoint_acts_every_time_and_others_do_not() -> None:
    arm_failpoints({"FAILPOINTS": f"{NAME}=raise"})
    for _ in range(2):
        with pytest.raises(FailpointReached, match=NAME):
            failpoint(NAME)
    failpoint("log_writer.after_write")


def test_a_failpoint_with_a_number_acts_only_that_time() -> None:
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
    ("value", "message"),
    [
        ("nowhere=kill", "no such failpoint"),
        (f"{NAME}=explode", "the action is kill, raise or sleep:SECONDS"),
        (NAME, "the action is kill, raise or sleep:SECONDS"),
        (f"{NAME}=sleep:long", "the action is kill, raise or sleep:SECONDS"),
        (f"{NAME}=kill@0", "a whole number from 1"),
    ],
)
def test_an_invalid_failpoint_is_refused_with_one_line(
    value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        arm_failpoints({"FAILPOINTS": value})
    output = capsys.readouterr().err
    assert exit_info.value.code == 2
    assert output.startswith("FAILPOINTS is not valid: ")
    assert message in output
    assert output.count("\n") == 1


def test_the_list_contains_exactly_the_failpoints_of_the_services() -> None:
    sources = [path.read_text() for path in (REPOSITORY / "services").glob("*/src/**/*.py")]
    assert {name for text in sources for name in re.findall(r'failpoint\("([^"]+)"\)', text)} == set(FAILPOINTS)
