"""Publishes the newest event of each key. A newer event replaces an event of the same key that is not sent yet."""

import asyncio
from contextlib import suppress
from typing import Final

from contracts.event import Event
from contracts.topics import Topic
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.lifecycle.background import Background

_RETRY_SECONDS: Final = 2.0
_LAST_SEND_SECONDS: Final = 2.0
"""How long a stop waits for the last events. A ban that was found just before must survive the restart."""


class NewestPublisher:
    """Publishes events to one compacted topic in the background, and tries again until Kafka acknowledges them."""

    def __init__(self, publisher: EventPublisher, topic: Topic) -> None:
        self._publisher, self._topic = publisher, topic
        self._unsent: dict[str, Event] = {}
        self._wake, self._stopping, self._all_sent = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._all_sent.set()

    def schedule(self, event: Event) -> None:
        """Schedule the event for publication, and return at once."""
        self._unsent[event.key()] = event
        self._all_sent.clear()
        self._wake.set()

    def background(self) -> Background:
        return Background(f"publisher of {self._topic.name}", self.run, self.stop)

    async def run(self) -> None:
        sending, stopping = asyncio.create_task(self._send_all()), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([sending, stopping], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending  # the task ends only because of a defect: raise its exception
            await self._send_last()
        finally:
            sending.cancel()
            stopping.cancel()
            await asyncio.wait([sending, stopping])

    async def stop(self) -> None:
        """Stop within two seconds. Events that Kafka has not acknowledged by then are dropped."""
        self._stopping.set()

    async def _send_last(self) -> None:
        """Wait until all events are sent, but not longer than two seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SEND_SECONDS):
                await self._all_sent.wait()

    async def _send_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._unsent:
                await self._send(self._unsent.pop(next(iter(self._unsent))))
            self._all_sent.set()

    async def _send(self, event: Event) -> None:
        try:
            await self._publisher.publish(self._topic, event)
        except PublishFailed:  # the publisher counts the failure, and readiness shows it
            self._unsent.setdefault(event.key(), event)
            await asyncio.sleep(_RETRY_SECONDS)
