"""The configs ordered by due time, as a heap. Outdated items stay in it and are skipped when they reach the top."""

import asyncio
import heapq
from collections.abc import Callable

DueAt = Callable[[int], int | None]
"""Returns the current due time of a config id; None if no tick will be due."""


class DueQueue:
    """The configs by due time in milliseconds. After a change of its schedule, a config must be added again. Its old
    item is not removed.
    """

    def __init__(self, due_at: DueAt) -> None:
        self._due_at = due_at
        self._heap: list[tuple[int, int]] = []
        self.earlier = asyncio.Event()
        """Set when a config was added whose due time is before all others."""

    def add(self, config_id: int) -> None:
        due_at = self._due_at(config_id)
        if due_at is None:
            return
        heapq.heappush(self._heap, (due_at, config_id))
        if self._heap[0] == (due_at, config_id):
            self.earlier.set()

    def next_at(self) -> int | None:
        """The earliest due time in the queue. No config is due before it."""
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: int, at_most: int) -> list[int]:
        """Remove and return up to `at_most` due ids, the earliest first. Add them again after their ticks."""
        ids: list[int] = []
        while self._heap and self._heap[0][0] <= now and len(ids) < at_most:
            due_at, config_id = heapq.heappop(self._heap)
            if self._due_at(config_id) == due_at:
                ids.append(config_id)
        return ids
