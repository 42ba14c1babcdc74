"""The limits of dead letters. If a limit is exceeded, the consumer is probably at fault, not the messages."""

from collections import Counter, deque
from collections.abc import Hashable

from runtime.settings import DeadLetterSettings

_WINDOW = 1000
_SHARE_COUNTS_FROM = 50
"""The limit of the share applies only if there are at least this number of dead letters."""


class TooManyDeadLetters(Exception):  # noqa: N818 -- the name states the problem
    """Too many messages became dead letters, so the consumer stops. The message says what to do."""


class DeadLetterLimiter:
    """Records the outcomes of one consumer's messages. It limits unreadable messages in a row, failed messages in a
    row, and the share of both.

    Unreadable messages in a row are counted per partition. Otherwise readable messages of other partitions would reset
    the count while all messages of one partition become dead letters. Failed messages are reported after their
    handling, not in the order of a partition, so they are counted together.

    After a start the limit is lower. Otherwise a consumer that cannot read its topic would turn many messages into dead
    letters at each restart.
    """

    def __init__(self, limits: DeadLetterSettings) -> None:
        self._limits = limits
        self._recent: deque[bool] = deque(maxlen=_WINDOW)  # one entry per message; True: a dead letter
        self._unreadable_in_a_row: Counter[Hashable] = Counter()
        self._failed_in_a_row = 0
        self._any_readable = self._any_handled = False
        self._problem: str | None = None

    @property
    def proven(self) -> bool:
        """Whether the consumer can handle messages. False if it has produced only dead letters since the start."""
        return self._any_handled or not any(self._recent)

    @property
    def exceeded(self) -> bool:
        """Whether a limit was exceeded."""
        return self._problem is not None

    def readable(self, partition: Hashable) -> None:
        """Record that the next message of the partition can be read. Its outcome is recorded later."""
        self._recent.append(False)
        self._unreadable_in_a_row.pop(partition, None)
        self._any_readable = True

    def handled(self) -> None:
        """Record that readable messages were handled."""
        self._failed_in_a_row, self._any_handled = 0, True

    def unreadable(self, partition: Hashable) -> str | None:
        """Record that the next message will become a dead letter. Returns the exceeded limit that forbids it, if
        any.
        """
        self._recent.append(True)
        self._unreadable_in_a_row[partition] += 1
        in_a_row = self._unreadable_in_a_row[partition] if self._any_readable else self._unreadable_in_a_row.total()
        return self._check(in_a_row, "unreadable", proven=self._any_readable)

    def failed(self) -> str | None:
        """Record that a readable message will become a dead letter. Returns the exceeded limit that forbids it, if
        any.
        """
        if False in self._recent:
            self._recent.remove(False)
        self._recent.append(True)
        self._failed_in_a_row += 1
        return self._check(self._failed_in_a_row, "readable but failed in the handler", proven=self._any_handled)

    def _check(self, in_a_row: int, kind: str, *, proven: bool) -> str | None:
        """Check the limits. A limit that was exceeded once stays exceeded, so that no message in flight becomes a dead
        letter afterwards.
        """
        if self._problem is None:
            self._problem = self._exceeded_limit(in_a_row, kind, proven=proven)
        return self._problem

    def _exceeded_limit(self, in_a_row: int, kind: str, *, proven: bool) -> str | None:
        dead, total = sum(self._recent), len(self._recent)
        if not proven and in_a_row > self._limits.dead_letters_max_consecutive_at_start:
            return (
                f"the first {in_a_row} messages since the start were {kind}"
                " (limit: DEAD_LETTERS_MAX_CONSECUTIVE_AT_START)"
            )
        if in_a_row > self._limits.dead_letters_max_consecutive:
            return f"{in_a_row} messages in a row were {kind} (limit: DEAD_LETTERS_MAX_CONSECUTIVE)"
        if dead > max(_SHARE_COUNTS_FROM, total * self._limits.dead_letters_max_share):
            return f"{dead} of the last {total} messages became dead letters (limit: DEAD_LETTERS_MAX_SHARE)"
        return None
