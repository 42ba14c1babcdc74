"""The log of the latest requests and their results, for tests."""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    id: int
    received_at: int
    """Real time in milliseconds, not simulated time, so that tests can measure the time between requests."""
    exchange: str
    method: str
    path: str
    query: dict[str, str]
    symbol: str | None
    status: int | None
    """None if the connection was reset."""
    mood: str | None
    duration_ms: float


class RequestLog:
    """Keeps the latest entries. Ids are never used again, not even after `clear`."""

    def __init__(self, capacity: int) -> None:
        self._entries: deque[Entry] = deque(maxlen=capacity)
        self._next_id = 1

    def next_id(self) -> int:
        number = self._next_id
        self._next_id += 1
        return number

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)

    def clear(self) -> None:
        self._entries.clear()

    def entries(self, exchange: str | None, since_id: int) -> list[dict[str, Any]]:
        """The entries after `since_id`, sorted by id. They must be sorted, because slow responses are added late."""
        chosen = [entry for entry in self._entries if entry.id > since_id and exchange in (None, entry.exchange)]
        return [asdict(entry) for entry in sorted(chosen, key=lambda entry: entry.id)]
