"""Tracebacks in the log: without local variables, and cheap enough for the event loop."""

import logging
import time
from collections.abc import Callable, Iterator
from io import StringIO
from uuid import uuid4

import pytest

from runtime.logs import log
from support.log_text import log_text

_MAX_CHARACTERS = 21_000
_MAX_CPU_SECONDS = 0.5


@pytest.fixture(params=["json", "console"])
def text(request: pytest.FixtureRequest) -> Iterator[StringIO]:
    with log_text(request.param) as written:
        yield written


def fail_with_a_local_variable() -> str:
    credential = uuid4().hex
    try:
        raise RuntimeError("no such thing")
    except RuntimeError:
        log.exception("Failed", action="failed")
    try:
        raise ExceptionGroup("several", [RuntimeError("one"), ValueError("two")])
    except ExceptionGroup:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    return credential


def test_a_traceback_has_its_frames_and_no_local_variables(text: StringIO) -> None:
    credential = fail_with_a_local_variable()
    written = text.getvalue()
    assert written.count("fail_with_a_local_variable") >= 2
    assert "RuntimeError: no such thing" in written
    assert "ValueError: two" in written
    assert credential not in written


def even(depth: int) -> None:
    odd(depth - 1)


def odd(depth: int) -> None:
    if depth < 0:
        raise LookupError("the innermost error")
    even(depth - 1)


def deep() -> None:
    try:
        even(700)
    except LookupError as error:
        raise ValueError("the outermost error") from error


def long_message() -> None:
    raise ValueError("begin" + "x" * 5_000_000 + "end")


@pytest.mark.parametrize(("fail", "kept"), [(deep, ("innermost", "outermost")), (long_message, ("begin", "end"))])
def test_a_deep_or_long_traceback_is_cheap_and_short(
    text: StringIO, fail: Callable[[], None], kept: tuple[str, str]
) -> None:
    started_at = time.process_time()
    try:
        fail()
    except (LookupError, ValueError):
        log.exception("Failed", action="failed")
    assert time.process_time() - started_at < _MAX_CPU_SECONDS
    assert len(text.getvalue()) < _MAX_CHARACTERS + 1_000
    assert all(word in text.getvalue() for word in kept)
