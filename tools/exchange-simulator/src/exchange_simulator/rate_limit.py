"""The rate limit of an exchange and its use."""

from collections import deque

_MINUTE_SECONDS = 60


class RateLimit:
    """Counts the requests of one exchange. `now` is in monotonic seconds."""

    def __init__(self, requests_per_second: float | None) -> None:
        self._limit = requests_per_second
        self._recent: deque[float] = deque()
        self._minute, self._weight = -1, 0

    def is_exceeded(self, now: float) -> bool:
        """Whether this request exceeds the limit per second. Refused requests do not count."""
        if self._limit is None:
            return False
        while self._recent and now - self._recent[0] >= 1:
            self._recent.popleft()
        if len(self._recent) >= self._limit:
            return True
        self._recent.append(now)
        return False

    def spend(self, weight: int, now: float) -> int:
        """The weight used in the current minute, with this request."""
        minute = int(now // _MINUTE_SECONDS)
        if minute != self._minute:
            self._minute, self._weight = minute, 0
        self._weight += weight
        return self._weight
