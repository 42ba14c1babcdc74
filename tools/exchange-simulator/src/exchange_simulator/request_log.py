"""What was asked and how it was answered, for tests: the last requests, in order."""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    id: int
    received_at: int
    """Real time in milliseconds, whatever the simulated clock says: so that tests can measure distances."""
    exchange: str
    method: str
    path: str
    query: dict[str, str]
    symbol: str | None
    status: int | None
    """None when the connection was reset instead of answered."""
    mood: str | None
    duration_ms: float


class RequestLog:
    """A ring: the oldest entries make room. Ids go on rising after a clear."""

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
        """Those with an id above `since_id`, by id. Slow answers enter when they end, so order by id is made here."""
        chosen = [entry for entry in self._entries if entry.id > since_id and exchange in (None, entry.exchange)]
        return [asdict(entry) for entry in sorted(chosen, key=lambda entry: entry.id)]
