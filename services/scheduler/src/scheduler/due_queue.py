"""Which config is next: a heap of due times whose outdated items are skipped when they surface."""

import asyncio
import heapq
from collections.abc import Callable

DueAt = Callable[[int], int | None]
"""A config's due time as of now, by id; None when it is not to fire."""


class DueQueue:
    """Due times in milliseconds. Whoever changes a config's schedule adds it again; old items need no removal."""

    def __init__(self, due_at: DueAt) -> None:
        self._due_at = due_at
        self._heap: list[tuple[int, int]] = []
        self.earlier = asyncio.Event()
        """Set when something was added that comes before all else."""

    def add(self, config_id: int) -> None:
        due_at = self._due_at(config_id)
        if due_at is None:
            return
        heapq.heappush(self._heap, (due_at, config_id))
        if self._heap[0] == (due_at, config_id):
            self.earlier.set()

    def next_at(self) -> int | None:
        """When to look again: nothing falls due before."""
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: int, at_most: int) -> list[int]:
        """Ids whose time has come, earliest first. They are off the agenda until they are added again."""
        ids: list[int] = []
        while self._heap and self._heap[0][0] <= now and len(ids) < at_most:
            due_at, config_id = heapq.heappop(self._heap)
            if self._due_at(config_id) == due_at:
                ids.append(config_id)
        return ids
