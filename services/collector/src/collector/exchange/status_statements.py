"""The statements of an exchange about itself, such as "maintenance", and the time that they cover. Pure."""

from collections import deque
from itertools import pairwise
from typing import Final, NamedTuple

from contracts.spans import Intervals, union

LONGEST_GAP_MS: Final = 10 * 60_000
"""Two statements that are further apart say nothing about the time between them."""

STATUS_AGE_MS: Final = 60_000
"""The status is requested again after this time."""

_KEPT: Final = 1000


class StatusStatement(NamedTuple):
    """One answer of an exchange about its status."""

    at: int
    """The exchange's time of the request, in milliseconds since the epoch."""
    word: str
    """The exchange's word, such as `online` or `maintenance`."""
    closed: bool
    """Whether the exchange did not trade."""


class StatusStatements:
    """The last statements of one exchange in this process."""

    def __init__(self) -> None:
        self._statements: deque[StatusStatement] = deque(maxlen=_KEPT)
        self._requested_at: int | None = None

    def start_request(self, now: int) -> bool:
        """Whether the status may be requested now (ms since the epoch), which is allowed once a minute. If the result
        is true, the caller must request it.
        """
        if self._requested_at is not None and 0 <= now - self._requested_at < STATUS_AGE_MS:
            return False
        self._requested_at = now
        return True

    def add(self, statement: StatusStatement) -> StatusStatement:
        self._statements.append(statement)
        return statement

    def closed(self) -> Intervals:
        """The time between two successive statements that the exchange was closed. A single statement covers no time,
        because the exchange may have traded in the same minute.
        """
        ordered = sorted(self._statements)
        return union(
            (one.at, two.at)
            for one, two in pairwise(ordered)
            if one.closed and two.closed and 0 < two.at - one.at <= LONGEST_GAP_MS
        )
