"""The tasks of a page's main thread, as Chromium's own tracing records them."""

import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from playwright.async_api import Browser, Page

LONG_MS: Final = 100.0
"""A longer task is a pause that a person can notice."""
CATEGORIES: Final = (
    "-*",
    "devtools.timeline",
    "disabled-by-default-devtools.timeline",
    "v8",
    "disabled-by-default-lighthouse",
)
_KINDS: Final = {
    "style": ("UpdateLayoutTree", "RecalculateStyles", "ScheduleStyleRecalculation"),
    "layout": ("Layout", "IntersectionObserverController::computeIntersections"),
    "paint": ("PrePaint", "Paint", "Layerize", "Commit", "UpdateLayer", "CompositeLayers"),
    "garbage": ("MajorGC", "MinorGC", "V8.GC_MARK_COMPACTOR", "V8.GC_SCAVENGER"),
}
_KIND_OF: Final = {name: kind for kind, names in _KINDS.items() for name in names}


@dataclass(frozen=True)
class Task:
    """One task of the main thread. During it, the page answers to nothing."""

    milliseconds: float
    processor_ms: float
    """Less than `milliseconds` if the thread waited for a core."""
    parts: Counter[str]
    """Its milliseconds by kind: script, style, layout, paint, garbage."""

    @property
    def main_parts(self) -> str:
        shown = [(kind, spent) for kind, spent in self.parts.most_common(2) if spent >= 0.1 * self.milliseconds]
        return ", ".join(f"{kind} {spent:.0f}" for kind, spent in shown)


@dataclass
class Trace:
    """The tasks that ran while `tracing` was open."""

    tasks: list[Task] = field(default_factory=list)

    @property
    def longest(self) -> Task:
        return max(self.tasks, key=lambda task: task.milliseconds)

    @property
    def longest_processor_ms(self) -> float:
        return max(task.processor_ms for task in self.tasks)

    @property
    def long_tasks(self) -> int:
        return sum(task.milliseconds > LONG_MS for task in self.tasks)

    @property
    def long_processor_tasks(self) -> int:
        return sum(task.processor_ms > LONG_MS for task in self.tasks)


@asynccontextmanager
async def tracing(browser: Browser, page: Page) -> AsyncIterator[Trace]:
    """Record the tasks of the page's main thread. The trace has them after the block."""
    trace = Trace()
    await browser.start_tracing(page=page, categories=list(CATEGORIES))
    try:
        yield trace
    finally:
        events = json.loads(await browser.stop_tracing())["traceEvents"]
    trace.tasks = tasks_of(events)


def tasks_of(events: list[dict[str, Any]]) -> list[Task]:
    """The tasks of the busiest main thread. Raises `ValueError` if there are none."""
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    by_thread: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        thread = (event["pid"], event["tid"])
        if event["ph"] == "X" and thread in threads:
            by_thread[thread].append(event)
    if not by_thread:
        raise ValueError("the trace has no events of a page's main thread")
    busiest = max(by_thread.values(), key=lambda of_thread: sum(each["dur"] for each in of_thread if _is_task(each)))
    return [_task(task, inner) for task, inner in _with_inner(busiest)]


def _is_task(event: dict[str, Any]) -> bool:
    return bool(event["name"] == "RunTask")


def _with_inner(events: Iterable[dict[str, Any]]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each task with the events inside it, in the order of their starts; an outer event is before its inner ones."""
    found: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    until = float("-inf")
    for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        if event["ts"] < until:
            found[-1][1].append(event)
        elif _is_task(event):
            found.append((event, []))
            until = event["ts"] + event["dur"]
    return found


def _task(task: dict[str, Any], inner: Iterable[dict[str, Any]]) -> Task:
    """The time of an inner event counts for its own kind, not for that of the event around it."""
    parts: Counter[str] = Counter()
    around: list[dict[str, Any]] = []
    for event in inner:
        while around and event["ts"] >= around[-1]["ts"] + around[-1]["dur"]:
            around.pop()
        if around:
            parts[_kind(around[-1])] -= event["dur"] / 1000
        parts[_kind(event)] += event["dur"] / 1000
        around.append(event)
    return Task(task["dur"] / 1000, task.get("tdur", task["dur"]) / 1000, parts)


def _kind(event: dict[str, Any]) -> str:
    return _KIND_OF.get(event["name"], "script")
