"""Stores a batch: waits until an outage ends, and isolates single messages that cannot be stored."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiokafka import ConsumerRecord

from contracts.event import Event
from runtime.dead_letters import DeadLetters
from runtime.kafka.codec import Tombstone
from runtime.logs import log
from runtime.tracing.spans import now_ns, record_stored
from runtime.waiting import Backoff

_INITIAL_WAIT_SECONDS = 0.2
_MAX_WAIT_SECONDS = 10.0
_SINGLE_MESSAGE_ATTEMPTS = 3

BatchItem = Event | Tombstone
Handler = Callable[[list[BatchItem]], Awaitable[None]]
KeepMembership = Callable[[], Awaitable[None]]
Batch = Sequence[tuple[BatchItem, ConsumerRecord]]
"""Readable messages, each with its record."""


class StoppedWriting(Exception):  # noqa: N818 -- the name states the problem
    """The process was stopped during an outage of the store. Nothing of the batch may be committed."""


class BatchWriter:
    """Calls the handler until each message of a batch is stored or is a dead letter."""

    def __init__(
        self,
        dead_letters: DeadLetters,
        is_transient: Callable[[Exception], bool],
        on_retry: Callable[[], None],
    ) -> None:
        self._dead_letters, self._is_transient, self._on_retry = dead_letters, is_transient, on_retry
        self._stopping = asyncio.Event()
        self.problem: str | None = None
        """The error that delays writing, None if there is none: a readiness check."""

    def stop(self) -> None:
        """End retries: `write` raises `StoppedWriting` at its next failure or during its current wait."""
        self._stopping.set()

    async def write(self, batch: Batch, handler: Handler, keep_membership: KeepMembership) -> None:
        """Return when each message is stored or is a dead letter. `keep_membership` is called before each wait.

        A message that the store refuses on its own is tried again after the rest of the batch is stored, together with
        the other refused messages. So the batch waits twice in total, and not twice for each refused message.
        """
        refused = await self._find_refused(batch, handler, keep_membership)
        backoff = _backoff()
        for _ in range(1, _SINGLE_MESSAGE_ATTEMPTS):
            if refused:
                await self._wait(next(iter(refused.values())), backoff, keep_membership)
            again = {place: await self._store([batch[place]], handler, keep_membership) for place in refused}
            refused = {place: error for place, error in again.items() if error is not None}
        self.problem = None
        await self._send_dead_letters(batch, refused)

    async def _find_refused(
        self, batch: Batch, handler: Handler, keep_membership: KeepMembership
    ) -> dict[int, Exception]:
        """Store the messages that can be stored. Returns the errors of the other messages by their place in the
        batch.
        """
        refused: dict[int, Exception] = {}
        parts = [range(len(batch))] if batch else []
        while parts:
            part = parts.pop(0)
            error = await self._store([batch[place] for place in part], handler, keep_membership)
            if error is not None and len(part) == 1:
                refused[part[0]] = error
            elif error is not None:
                half = len(part) // 2
                parts[:0] = [part[:half], part[half:]]
        return refused

    async def _send_dead_letters(self, batch: Batch, refused: Mapping[int, Exception]) -> None:
        """Outcomes are reported in the order of the batch. Otherwise failures that have successes between them would
        look consecutive to the dead-letter limit.
        """
        letters = []
        try:
            for place, (_, record) in enumerate(batch):
                if (error := refused.get(place)) is None:
                    self._dead_letters.handled()
                else:
                    reason = f"{type(error).__name__}: {error}"
                    letters.append(self._dead_letters.send(record, reason, _SINGLE_MESSAGE_ATTEMPTS))
        finally:
            await asyncio.gather(*letters)

    async def _store(self, part: Batch, handler: Handler, keep_membership: KeepMembership) -> Exception | None:
        """Store the messages. Returns None, or the error for which a retry does not help."""
        items = [item for item, _ in part]
        backoff, started = _backoff(), now_ns()
        while True:
            try:
                await handler(items)
            except Exception as error:  # noqa: BLE001 -- `is_transient` selects the errors to retry
                if not self._is_transient(error):
                    self._record(part, started, type(error).__name__)
                    return self._refuse(part, error)
                await self._wait(error, backoff, keep_membership)
            else:
                self.problem = None
                self._record(part, started)
                return None

    def _record(self, part: Batch, started_ns: int, failed: str = "") -> None:
        if started_ns:  # if tracing is off, avoid the cost of a loop over each batch
            record_stored(((item, record.headers) for item, record in part), started_ns, failed=failed)

    def _refuse(self, part: Batch, error: Exception) -> Exception:
        self.problem = None
        log.warning(
            "A batch cannot be stored: splitting it", action="batch_refused", messages=len(part), error=repr(error)
        )
        return error

    async def _wait(self, error: Exception, backoff: Backoff, keep_membership: KeepMembership) -> None:
        self.problem = f"writing fails, trying again: {error!r}"[:500]
        self._on_retry()
        log.warning("Writing failed, trying again", action="write_failed", error=repr(error)[:500])
        await keep_membership()
        if await backoff.sleep_unless(self._stopping):
            raise StoppedWriting from error


def _backoff() -> Backoff:
    return Backoff(_INITIAL_WAIT_SECONDS, _MAX_WAIT_SECONDS, jitter=True)
