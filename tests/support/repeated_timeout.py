"""A pytest plugin: the alarm of a test's timeout repeats until the test ends.

asyncio swallows an exception that a signal raises within one of its callbacks. So a single alarm can be lost on a busy
machine, and the test would hang forever.
"""

import signal
from collections.abc import Generator
from typing import Any, Final

import pytest

LONGEST_PAUSE_SECONDS: Final = 60.0


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(settings: Any) -> Generator[None, Any, Any]:
    """`settings`: those of pytest-timeout for this test."""
    is_set = yield
    if signal.getitimer(signal.ITIMER_REAL)[0] > 0:  # its other method needs no signal
        signal.setitimer(signal.ITIMER_REAL, settings.timeout, min(settings.timeout, LONGEST_PAUSE_SECONDS))
    return is_set
