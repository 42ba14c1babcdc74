"""A timeout ends a test also if its first alarm is lost."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
HANGS = """
import asyncio
import time


def test_hangs():
    loop = asyncio.new_event_loop()
    loop.call_soon(time.sleep, 100)  # asyncio swallows the exception of this callback
    loop.run_forever()
"""


def test_a_test_that_lost_its_first_alarm_is_ended_by_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGS)
    command = (sys.executable, "-m", "pytest", "-p", "support.repeated_timeout", "-o", "timeout=1", "-q", str(tmp_path))
    environment = os.environ | {"PYTHONPATH": str(TESTS), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "Timeout (>1.0s)" in done.stdout
