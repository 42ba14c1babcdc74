"""Messages that cannot be handled are put aside, with all that is needed to look at them and to replay them."""

import asyncio
import base64
from collections import deque
from datetime import UTC, datetime

from aiokafka import ConsumerRecord

from contracts.dead_letters import DeadLetter
from contracts.topics import DEAD_LETTERS
from runtime.logs import log
from runtime.metrics import ConsumerMetrics
from runtime.publisher import EventPublisher, PublishFailed

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_MAX_ERROR_CHARACTERS = 4000
_WINDOW = 1000
_SHARE = 0.5
_TOLERATED = 50


class TooManyDeadLetters(Exception):  # noqa: N818 -- it names what happened
    """So large a share of the messages cannot be handled that the fault is ours, not theirs: stop and say so."""


class DeadLetters:
    """The way out for one consumer's unreadable or unstorable messages.

    Of the last `_WINDOW` messages at most half may leave this way, once at least `_TOLERATED` have: a consumer that
    was deployed with the wrong contract must not empty its topic into the dead letters.
    """

    def __init__(self, publisher: EventPublisher, consumer_name: str, metrics: ConsumerMetrics) -> None:
        self._publisher = publisher
        self._consumer = consumer_name
        self._metrics = metrics
        self._recent: deque[bool] = deque(maxlen=_WINDOW)  # True: put aside

    def handled(self, messages: int = 1) -> None:
        """Say that messages were handled well; the share of dead letters is measured against these."""
        self._recent.extend([False] * min(messages, _WINDOW))

    async def send(self, record: ConsumerRecord, error: str, attempts: int = 1) -> None:
        """Return once the dead letter is acknowledged; only then may the message itself be.

        While Kafka does not take it, this tries again for ever: a message must not vanish. Cancelling is safe, the
        message is then read again. Raises `TooManyDeadLetters` before it puts aside one too many.
        """
        self._recent.append(True)
        if (aside := sum(self._recent)) > max(_TOLERATED, len(self._recent) * _SHARE):
            raise TooManyDeadLetters(f"{aside} of the last {len(self._recent)} messages; last error: {error}")
        letter = dead_letter(record, error, attempts, self._consumer, datetime.now(UTC))
        pause = _FIRST_PAUSE_SECONDS
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
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
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


def dead_letter(record: ConsumerRecord, error: str, attempts: int, consumer: str, now: datetime) -> DeadLetter:
    """The event that tells of a message which `consumer` gave up on."""
    return DeadLetter(
        occurred_at=now,
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
        source_key=_base64(record.key),
        source_value=_base64(record.value),
        source_headers={key: (value or b"").decode(errors="replace") for key, value in record.headers},
        error=error[:_MAX_ERROR_CHARACTERS],
        attempts=attempts,
        consumer=consumer,
    )


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
