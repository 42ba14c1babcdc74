"""Sends messages that one consumer can neither read nor handle to the dead-letter topic."""

import base64
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition

from contracts.dead_letters import DeadLetter
from contracts.topics import DEAD_LETTERS
from runtime.dead_letters.limits import DeadLetterLimiter, TooManyDeadLetters
from runtime.kafka.clients import MAX_MESSAGE_BYTES
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.logs import log
from runtime.metrics import ConsumerMetrics
from runtime.settings import DeadLetterSettings
from runtime.waiting import Backoff

_RETRY_INITIAL_WAIT_SECONDS = 0.5
_RETRY_MAX_WAIT_SECONDS = 30.0
_MAX_ERROR_CHARACTERS = 4000
_MAX_HEADER_CHARACTERS = 20_000
"""Limit for all headers together, in characters. JSON may need six bytes per character."""
_MAX_BODY_BYTES = (MAX_MESSAGE_BYTES - 256 * 1024) * 3 // 4
"""Limit for key and value together, in bytes. Base64 turns 3 bytes into 4, and the error and the headers need space,
too.
"""


class DeadLetters:
    """Stores the messages that one consumer cannot read or handle.

    A consumer that was deployed with the wrong contract must not move its whole topic to the dead letters. So there are
    limits (`DeadLetterSettings`). `may_commit` is false after a limit was exceeded, and while dead letters are the only
    outcome since the start. So after a restart, the consumer or the next owner of its partitions reads the same
    messages again, not the following ones.
    """

    def __init__(
        self,
        publisher: EventPublisher,
        consumer_name: str,
        metrics: ConsumerMetrics,
        limits: DeadLetterSettings | None = None,
    ) -> None:
        self._publisher = publisher
        self._consumer = consumer_name
        self._metrics = metrics
        self._limiter = DeadLetterLimiter(limits or DeadLetterSettings())
        self._unacknowledged: set[tuple[str, int, int]] = set()

    @property
    def may_commit(self) -> bool:
        """Whether offsets may be committed. False while dead letters are the only outcome since the start, and after a
        limit was exceeded.
        """
        return self._limiter.proven and not self._limiter.exceeded

    def is_sending(self, partition: TopicPartition, offset: int) -> bool:
        """Whether the dead letter of this message is not acknowledged yet."""
        return (*partition, offset) in self._unacknowledged

    def readable(self, record: ConsumerRecord) -> None:
        """Call this for each readable message, in the order of its partition."""
        self._limiter.readable(_partition(record))

    def handled(self) -> None:
        """Call this when readable messages were handled successfully."""
        self._limiter.handled()

    def count_repeated(self, record: ConsumerRecord, error: str, *, readable: bool) -> None:
        """Count a message that already became a dead letter before the start. It is not stored again.

        Raises `TooManyDeadLetters`.
        """
        problem = self._limiter.failed() if readable else self._limiter.unreadable(_partition(record))
        self._check(problem, record, error)

    def send_unreadable(self, record: ConsumerRecord, error: str) -> Coroutine[Any, Any, None]:
        """Like `send`, but for a message that cannot be read, so that `readable` was not called for it."""
        self._check(self._limiter.unreadable(_partition(record)), record, error)
        return self._start(record, error, 1)

    def send(self, record: ConsumerRecord, error: str, attempts: int = 1) -> Coroutine[Any, Any, None]:
        """Store a readable message that cannot be handled. The returned coroutine ends when Kafka has acknowledged the
        dead letter; only then may the message's offset be committed. Several may be awaited together.

        If Kafka does not accept the dead letter, it is tried again indefinitely: a message must not be lost. The
        coroutine may be cancelled; the message is then read again. This call itself, not the coroutine, raises
        `TooManyDeadLetters`.
        """
        self._check(self._limiter.failed(), record, error)
        return self._start(record, error, attempts)

    def _check(self, problem: str | None, record: ConsumerRecord, error: str) -> None:
        if problem is not None:
            self._metrics.stopped.labels(self._consumer).set(1)
            raise TooManyDeadLetters(
                f"{self._consumer} stops: {problem}; here "
                f"{record.topic}/{record.partition}/{record.offset}: {error[:500]}. "
                "If this release is at fault, deploy one that can read these messages. If the messages are invalid, "
                "inspect them (python -m runtime.dead_letters list), raise the limit until they have been skipped, "
                "and restart."
            )

    def _start(self, record: ConsumerRecord, error: str, attempts: int) -> Coroutine[Any, Any, None]:
        self._unacknowledged.add((*_partition(record), record.offset))
        return self._send(record, error, attempts)

    async def _send(self, record: ConsumerRecord, error: str, attempts: int) -> None:
        letter = dead_letter(record, error, attempts, self._consumer, datetime.now(UTC))
        try:
            await self._publish(letter)
        finally:
            self._unacknowledged.discard((*_partition(record), record.offset))
        self._metrics.dead_letters.labels(self._consumer, record.topic).inc()
        log.error(
            "A message could not be read or handled and was stored as a dead letter",
            action="dead_letter",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            attempts=attempts,
            error=letter.error,
        )

    async def _publish(self, letter: DeadLetter) -> None:
        """Returns when Kafka has acknowledged the dead letter."""
        backoff = Backoff(_RETRY_INITIAL_WAIT_SECONDS, _RETRY_MAX_WAIT_SECONDS)
        while True:
            try:
                return await self._publisher.publish(DEAD_LETTERS, letter)
            except PublishFailed as failure:
                log.warning(
                    "Publishing a dead letter failed, trying again", action="dead_letter_delayed", error=str(failure)
                )
                await backoff.sleep()


def _partition(record: ConsumerRecord) -> tuple[str, int]:
    return record.topic, record.partition


def dead_letter(record: ConsumerRecord, error: str, attempts: int, consumer: str, now: datetime) -> DeadLetter:
    """The event for a message that `consumer` could not read or handle."""
    whole = len(record.key or b"") + len(record.value or b"") <= _MAX_BODY_BYTES
    return DeadLetter(
        occurred_at=now,
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
        source_key=_base64(record.key) if whole else None,
        source_value=_base64(record.value) if whole else None,
        source_headers=_readable_headers(record.headers),
        error=error[:_MAX_ERROR_CHARACTERS].encode(errors="replace").decode(),  # JSON cannot contain a lone surrogate
        attempts=attempts,
        consumer=consumer,
        complete=whole,
    )


def _readable_headers(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """The headers as text, up to the limit: a dead letter that Kafka refuses would block its partition indefinitely."""
    texts, remaining = {}, _MAX_HEADER_CHARACTERS
    for name, value in headers:
        text = (value or b"").decode(errors="replace")
        if (remaining := remaining - len(name) - len(text)) < 0:
            break
        texts[name] = text
    return texts


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
