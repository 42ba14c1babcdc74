"""One consumer's way out for what it can neither read nor handle."""

import base64
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime
from typing import Any

from aiokafka import ConsumerRecord

from contracts.dead_letters import DeadLetter
from contracts.topics import DEAD_LETTERS
from runtime.dead_letters.limits import DeadLetterLimiter, TooManyDeadLetters
from runtime.kafka.clients import MAX_MESSAGE_BYTES
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.logs import log
from runtime.metrics import ConsumerMetrics
from runtime.settings import DeadLetterSettings
from runtime.waiting import Backoff

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_MAX_ERROR_CHARACTERS = 4000
_MAX_HEADER_CHARACTERS = 20_000
"""Of all headers together: JSON may need six bytes for each."""
_MAX_BODY_BYTES = (MAX_MESSAGE_BYTES - 256 * 1024) * 3 // 4
"""Of key and value together: base64 makes 4 bytes of 3, and error and headers need room as well."""


class DeadLetters:
    """The way out for one consumer's unreadable or unstorable messages.

    A consumer that was deployed with the wrong contract must not empty its topic into the dead letters. So there are
    limits (`DeadLetterSettings`), and while nothing was handled well since the start, or once a limit is reached,
    `may_commit` is false: a consumer that stops at its limit and is started again, or the one that takes over its
    partitions, meets the same messages again, instead of the next ones.
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
        self._tally = DeadLetterLimiter(limits or DeadLetterSettings())

    @property
    def may_commit(self) -> bool:
        """Whether offsets may be committed: not while all this consumer has done is putting messages aside, and not
        once it has put aside too many.
        """
        return self._tally.proven and not self._tally.exceeded

    def readable(self, record: ConsumerRecord) -> None:
        """Say of each message, in the order of its partition, that it is an event."""
        self._tally.readable(_partition(record))

    def handled(self) -> None:
        """Say that readable messages were handled well."""
        self._tally.handled()

    def met_again(self, record: ConsumerRecord, error: str, *, readable: bool) -> None:
        """A message that was put aside in an earlier life: it counts, but makes no second letter.
        Raises `TooManyDeadLetters`.
        """
        verdict = self._tally.failed() if readable else self._tally.unreadable(_partition(record))
        self._check(verdict, record, error)

    def send_unreadable(self, record: ConsumerRecord, error: str) -> Coroutine[Any, Any, None]:
        """As `send`, for a message that was never told to be `readable`."""
        self._check(self._tally.unreadable(_partition(record)), record, error)
        return self._send(record, error, 1)

    def send(self, record: ConsumerRecord, error: str, attempts: int = 1) -> Coroutine[Any, Any, None]:
        """Put aside a readable message that cannot be handled. What is returned ends once the dead letter is
        acknowledged; only then may the message itself be. Several may be awaited together.

        While Kafka does not take it, it tries again for ever: a message must not vanish. Cancelling is safe, the
        message is then read again. Raises `TooManyDeadLetters`, here and at once, where this is one too many.
        """
        self._check(self._tally.failed(), record, error)
        return self._send(record, error, attempts)

    def _check(self, verdict: str | None, record: ConsumerRecord, error: str) -> None:
        if verdict is not None:
            self._metrics.stopped.labels(self._consumer).set(1)
            raise TooManyDeadLetters(
                f"{self._consumer} stops: {verdict}; here {record.topic}/{record.partition}/{record.offset}: "
                f"{error[:500]}. Is this release at fault, deploy one that can read them. Are the messages, look at "
                "them (python -m runtime.dead_letters list), raise the limit until they are passed, and start again."
            )

    async def _send(self, record: ConsumerRecord, error: str, attempts: int) -> None:
        letter = dead_letter(record, error, attempts, self._consumer, datetime.now(UTC))
        backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        while True:
            try:
                await self._publisher.publish(DEAD_LETTERS, letter)
                break
            except PublishFailed as failure:
                log.warning(
                    "A dead letter could not be published, trying again",
                    action="dead_letter_delayed",
                    error=str(failure),
                )
                await backoff.sleep()
        self._metrics.dead_letters.labels(self._consumer, record.topic).inc()
        log.error(
            "A message was put aside as a dead letter",
            action="dead_letter",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            attempts=attempts,
            error=letter.error,
        )


def _partition(record: ConsumerRecord) -> tuple[str, int]:
    return record.topic, record.partition


def dead_letter(record: ConsumerRecord, error: str, attempts: int, consumer: str, now: datetime) -> DeadLetter:
    """The event that tells of a message which `consumer` gave up on."""
    whole = len(record.key or b"") + len(record.value or b"") <= _MAX_BODY_BYTES
    return DeadLetter(
        occurred_at=now,
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
        source_key=_base64(record.key) if whole else None,
        source_value=_base64(record.value) if whole else None,
        source_headers=_readable_headers(record.headers),
        error=error[:_MAX_ERROR_CHARACTERS].encode(errors="replace").decode(),  # JSON takes no lone surrogate
        attempts=attempts,
        consumer=consumer,
        complete=whole,
    )


def _readable_headers(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """As text, and no more of it than fits: a letter that Kafka refuses would hold up its partition for ever."""
    texts, room = {}, _MAX_HEADER_CHARACTERS
    for name, value in headers:
        text = (value or b"").decode(errors="replace")
        if (room := room - len(name) - len(text)) < 0:
            break
        texts[name] = text
    return texts


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
