"""Measures how the time of a function grows with the size of its input."""

import contextlib
import time
from collections.abc import Callable

FACTOR = 4
SMALL_SIZE = 20_000
_LIMIT = 8.0
"""Four times the input takes four times as long on a linear path, and sixteen times as long on a squared one."""
_TOO_FAST_SECONDS = 0.002
_ATTEMPTS = 8


def grows_linearly(run: Callable[[str], object], text_of: Callable[[int], str], size: int = SMALL_SIZE) -> bool:
    """Whether the processor time of `run` grows like the input. `text_of` returns a text of about this length.

    Errors of `run` are expected. Other programs can only make a measurement slower, so the smallest of several counts.
    """
    small = large = float("inf")
    for _ in range(_ATTEMPTS):
        small = min(small, _seconds(run, text_of(size)))
        large = min(large, _seconds(run, text_of(size * FACTOR)))
        if large < _TOO_FAST_SECONDS or large / small < _LIMIT:
            return True
    return False


def _seconds(run: Callable[[str], object], text: str) -> float:
    began = time.thread_time()
    with contextlib.suppress(Exception):
        run(text)
    return max(time.thread_time() - began, 1e-6)
