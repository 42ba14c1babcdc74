"""How many messages a consumer may put aside before the fault must be its own."""

from collections import Counter, deque
from collections.abc import Hashable

from runtime.settings import DeadLetterSettings

_WINDOW = 1000
_SHARE_COUNTS_FROM = 50
"""A share of a few messages means nothing."""


class TooManyDeadLetters(Exception):  # noqa: N818 -- it names what happened
    """So many messages cannot be handled that the fault is ours, not theirs. The message says what to do."""


class DeadLetterLimiter:
    """What became of one consumer's messages. Judges runs of unreadable ones, runs of failed ones, and their share.

    Unreadable ones are a run within their partition: that others of the consumer are in order must not let one that is
    nothing but junk be emptied. Failed ones are told after their handling, in no partition's order, and are one run.

    A run at start is cut sooner: whoever restarts a consumer that cannot read its topic must not let it put aside a
    full run each time.
    """

    def __init__(self, limits: DeadLetterSettings) -> None:
        self._limits = limits
        self._recent: deque[bool] = deque(maxlen=_WINDOW)  # a message each; True: put aside
        self._unreadable_runs: Counter[Hashable] = Counter()
        self._failed_run = 0
        self._any_readable = self._any_handled = False
        self._verdict: str | None = None

    @property
    def proven(self) -> bool:
        """Whether a message was handled well since the start, or none was put aside yet."""
        return self._any_handled or not any(self._recent)

    @property
    def exceeded(self) -> bool:
        """Whether a limit was reached."""
        return self._verdict is not None

    def readable(self, partition: Hashable) -> None:
        """The next message of the partition is an event; what becomes of it shows later."""
        self._recent.append(False)
        self._unreadable_runs.pop(partition, None)
        self._any_readable = True

    def handled(self) -> None:
        """Messages that were readable are dealt with."""
        self._failed_run, self._any_handled = 0, True

    def unreadable(self, partition: Hashable) -> str | None:
        """The next of the partition is about to be put aside. What forbids it, None when it may be."""
        self._recent.append(True)
        self._unreadable_runs[partition] += 1
        run = self._unreadable_runs[partition] if self._any_readable else self._unreadable_runs.total()
        return self._judge(run, "unreadable", proven=self._any_readable)

    def failed(self) -> str | None:
        """One that was counted as readable is about to be put aside. What forbids it, None when it may be."""
        if False in self._recent:
            self._recent.remove(False)
        self._recent.append(True)
        self._failed_run += 1
        return self._judge(self._failed_run, "not to be handled", proven=self._any_handled)

    def _judge(self, run: int, what: str, *, proven: bool) -> str | None:
        """The first verdict stands: what is in flight when it falls must not slip through afterwards."""
        if self._verdict is None:
            self._verdict = self._exceeded(run, what, proven=proven)
        return self._verdict

    def _exceeded(self, run: int, what: str, *, proven: bool) -> str | None:
        aside, seen = sum(self._recent), len(self._recent)
        if not proven and run > self._limits.dead_letters_max_consecutive_at_start:
            return (
                f"the first {run} messages since the start were {what} (limit: DEAD_LETTERS_MAX_CONSECUTIVE_AT_START)"
            )
        if run > self._limits.dead_letters_max_consecutive:
            return f"{run} messages in a row were {what} (limit: DEAD_LETTERS_MAX_CONSECUTIVE)"
        if aside > max(_SHARE_COUNTS_FROM, seen * self._limits.dead_letters_max_share):
            return f"{aside} of the last {seen} messages were put aside (limit: DEAD_LETTERS_MAX_SHARE)"
        return None
