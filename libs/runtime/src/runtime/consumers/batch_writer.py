"""Getting a batch written: patient with outages, and sharp with single messages that cannot be stored."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from aiokafka import ConsumerRecord

from contracts.event import Event
from contracts.topics import Topic
from runtime.dead_letters import DeadLetters
from runtime.logs import log
from runtime.waiting import Backoff

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 10.0
_ATTEMPTS_ALONE = 3


@dataclass(frozen=True, slots=True)
class Received:
    """A readable message. `event` is None for a tombstone."""

    event: Event | None
    key: str
    topic: Topic
    partition: int
    offset: int


Handler = Callable[[list[Received]], Awaitable[None]]
Batch = Sequence[tuple[Received, ConsumerRecord]]


class StoppedWriting(Exception):  # noqa: N818 -- it names what happened
    """Told to stop while the store was away; nothing of the batch may be committed."""


class BatchWriter:
    """Calls the handler until every message of a batch is stored or put aside."""

    def __init__(
        self,
        handler: Handler,
        dead_letters: DeadLetters,
        is_transient: Callable[[Exception], bool],
        on_retry: Callable[[], None],
    ) -> None:
        self._handler, self._dead_letters = handler, dead_letters
        self._is_transient, self._on_retry = is_transient, on_retry
        self._stopping = asyncio.Event()
        self.problem: str | None = None
        """Why writing is held up, None when it is not: a readiness check."""

    def stop(self) -> None:
        """End retries: `write` raises `StoppedWriting` at its next failure or within its pause."""
        self._stopping.set()

    async def write(self, batch: Batch, while_waiting: Callable[[], Awaitable[None]]) -> None:
        """Return when all is stored or put aside. `while_waiting` is called before each pause.

        A message that is refused alone is tried again when the rest of its batch is stored, together with the others
        of its kind: however many they are, they wait for two pauses, not for two each.
        """
        refused = await self._find_refused(batch, while_waiting)
        backoff = _backoff()
        for _ in range(1, _ATTEMPTS_ALONE):
            if refused:
                await self._hold(next(iter(refused.values())), backoff, while_waiting)
            again = {each: await self._store([batch[each]], while_waiting) for each in refused}
            refused = {each: error for each, error in again.items() if error is not None}
        self.problem = None
        await self._put_aside(batch, refused)

    async def _find_refused(self, batch: Batch, while_waiting: Callable[[], Awaitable[None]]) -> dict[int, Exception]:
        """Store what can be stored. The rest by its place in the batch, each with its error."""
        refused: dict[int, Exception] = {}
        parts = [range(len(batch))] if batch else []
        while parts:
            part = parts.pop(0)
            error = await self._store([batch[each] for each in part], while_waiting)
            if error is not None and len(part) == 1:
                refused[part[0]] = error
            elif error is not None:
                half = len(part) // 2
                parts[:0] = [part[:half], part[half:]]
        return refused

    async def _put_aside(self, batch: Batch, refused: Mapping[int, Exception]) -> None:
        """The outcomes are told in the order of the stream: a limit on runs of failures must not see one where good
        messages lay between.
        """
        letters = []
        try:
            for place, (_, record) in enumerate(batch):
                if (error := refused.get(place)) is None:
                    self._dead_letters.handled()
                else:
                    letters.append(self._dead_letters.send(record, f"{type(error).__name__}: {error}", _ATTEMPTS_ALONE))
        finally:
            await asyncio.gather(*letters)

    async def _store(self, part: Batch, while_waiting: Callable[[], Awaitable[None]]) -> Exception | None:
        """None when stored, else the error that waiting does not cure."""
        events = [received for received, _ in part]
        backoff = _backoff()
        while True:
            try:
                await self._handler(events)
            except Exception as error:  # noqa: BLE001 -- `is_transient` decides
                if not self._is_transient(error):
                    return self._give_up(part, error)
                await self._hold(error, backoff, while_waiting)
            else:
                self.problem = None
                return None

    def _give_up(self, part: Batch, error: Exception) -> Exception:
        self.problem = None
        log.warning("A batch cannot be stored as it is", action="batch_refused", messages=len(part), error=repr(error))
        return error

    async def _hold(self, error: Exception, backoff: Backoff, while_waiting: Callable[[], Awaitable[None]]) -> None:
        self.problem = f"writing fails, trying again: {error!r}"[:500]
        self._on_retry()
        log.warning("Writing failed, trying again", action="write_failed", error=repr(error)[:500])
        await while_waiting()
        if await backoff.sleep_unless(self._stopping):
            raise StoppedWriting from error


def _backoff() -> Backoff:
    return Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, jitter=True)
