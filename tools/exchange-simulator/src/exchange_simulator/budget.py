"""How much of its rate budget an exchange has been asked for."""

from collections import deque

_MINUTE_SECONDS = 60


class Budget:
    """Counts one exchange's requests; `now` is monotonic seconds."""

    def __init__(self, requests_per_second: float | None) -> None:
        self._limit = requests_per_second
        self._recent: deque[float] = deque()
        self._minute, self._weight = -1, 0

    def is_exceeded(self, now: float) -> bool:
        """Whether this request is one too many in the last second. Refused ones do not count."""
        if self._limit is None:
            return False
        while self._recent and now - self._recent[0] >= 1:
            self._recent.popleft()
        if len(self._recent) >= self._limit:
            return True
        self._recent.append(now)
        return False

    def spend(self, weight: int, now: float) -> int:
        """Weight used in the running minute, this request included."""
        minute = int(now // _MINUTE_SECONDS)
        if minute != self._minute:
            self._minute, self._weight = minute, 0
        self._weight += weight
        return self._weight
