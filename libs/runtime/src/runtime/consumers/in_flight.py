"""The messages that a concurrent consumer handles now. Each has its own task."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from runtime.consumers.lane_queue import Place
from runtime.consumers.offset_tracker import PartitionTracker
from runtime.dead_letters import DeadLetters
from runtime.logs import log

_CANCEL_SECONDS = 5.0


class InFlightMessage(NamedTuple):
    """A message whose task is running."""

    tracker: PartitionTracker
    partition: TopicPartition
    offset: int
    place: Place | None
    """The place in the lane. None for an unreadable or superseded message, which is only reported and takes no
    place.
    """
    merged_offsets: tuple[int, ...] = ()
    """Older messages of the partition that are finished together with this one."""


class InFlightMessages:
    """Starts and cancels the tasks. A message is finished when its task ends without an error.

    A cancelled task leaves its message unfinished. Another error means that the message could neither be handled nor
    stored as a dead letter: it goes to `on_failure`, and the consumer must stop.
    """

    def __init__(self, on_end: Callable[[InFlightMessage], None], on_failure: Callable[[BaseException], None]) -> None:
        self._on_end, self._on_failure = on_end, on_failure
        self._tasks: dict[asyncio.Task[None], InFlightMessage] = {}
        self._reports = 0

    @property
    def reports(self) -> int:
        """The number of tasks that use no place in a lane."""
        return self._reports

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, message: InFlightMessage, handling: Coroutine[Any, Any, None]) -> None:
        # The task is the coroutine itself. A wrapper that is cancelled before its first step would never await it.
        task = asyncio.create_task(handling)
        self._tasks[task] = message
        self._reports += message.place is None
        task.add_done_callback(self._done)

    async def drain(self, partitions: Collection[TopicPartition], seconds: float) -> None:
        """Wait until the messages of these partitions are finished, at most `seconds`."""
        if tasks := [task for task, message in self._tasks.items() if message.partition in partitions]:
            await asyncio.wait(tasks, timeout=seconds)

    def cancel(self, partitions: Collection[TopicPartition]) -> None:
        """Stop handling messages of these partitions. Kafka may still store a dead letter or report that is in flight:
        a duplicate is better than a loss.
        """
        for task, message in self._tasks.items():
            if message.partition in partitions and message.place is not None:
                task.cancel()

    async def finish_dead_letters(self, dead_letters: DeadLetters) -> None:
        """Wait for dead letters before a stop.

        If a dead-letter limit alerts an operator, the dead letters must be in the topic.
        """
        sending = dead_letters.is_sending
        if tasks := [task for task, each in self._tasks.items() if sending(each.partition, each.offset)]:
            await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)

    async def cancel_all(self) -> None:
        """Cancel all tasks. Their messages stay unfinished, so the next owner of the partitions handles them again."""
        if tasks := list(self._tasks):
            for task in tasks:
                task.cancel()
            log.warning(
                "Unfinished messages were cancelled: they will be handled again",
                action="abandoned",
                messages=len(tasks),
            )
            await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)

    def _done(self, task: asyncio.Task[None]) -> None:
        message = self._tasks.pop(task)
        self._reports -= message.place is None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            for offset in (message.offset, *message.merged_offsets):
                message.tracker.finish(offset)
        elif not isinstance(error, asyncio.CancelledError):
            self._on_failure(error)
        self._on_end(message)
