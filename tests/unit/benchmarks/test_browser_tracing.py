"""Which tasks the benchmark of the dashboard finds in a trace."""

from typing import Any

import pytest
from benchmarks.browser_tracing import tasks_of


def event(name: str, at: float, length: float, *, thread: int = 1, **more: Any) -> dict[str, Any]:
    """Times in milliseconds, as in the assertions; a trace has microseconds."""
    return {"name": name, "ph": "X", "pid": 7, "tid": thread, "ts": 1000 * at, "dur": 1000 * length} | more


def main_thread(thread: int = 1) -> dict[str, Any]:
    return {"name": "thread_name", "ph": "M", "pid": 7, "tid": thread, "args": {"name": "CrRendererMain"}}


def test_a_task_has_its_processor_time_and_its_parts_without_those_of_inner_events() -> None:
    events = [
        event("Layout", 112, 20),
        event("RunTask", 100, 80, tdur=30_000),
        event("FunctionCall", 110, 50),
        event("UpdateLayoutTree", 140, 5),
        event("RunTask", 200, 1),
        main_thread(),
    ]
    task, short = tasks_of(events)
    assert (task.milliseconds, task.processor_ms, short.milliseconds) == (80, 30, 1)
    assert task.parts == {"script": 25, "layout": 20, "style": 5}
    assert task.main_parts == "script 25, layout 20"


def test_other_threads_and_less_busy_pages_are_left_out() -> None:
    events = [
        main_thread(1),
        main_thread(2),
        event("RunTask", 0, 5, thread=1),
        event("RunTask", 0, 9, thread=2),
        event("RunTask", 0, 99, thread=3),
    ]
    assert [task.milliseconds for task in tasks_of(events)] == [9]


def test_a_trace_without_a_page_is_refused() -> None:
    with pytest.raises(ValueError, match="no events"):
        tasks_of([event("RunTask", 0, 99, thread=3)])
