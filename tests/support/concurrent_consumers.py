"""Concurrent consumers of ticks that commit soon and stop soon, for tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiokafka import ConsumerRecord

from contracts.event import Event
from contracts.topics import TICKS
from runtime.consumers.concurrent import ConcurrentConsumer
from runtime.consumers.limits import InFlightLimits
from runtime.consumers.membership_fence import MembershipFence
from runtime.settings import KafkaSettings
from support.consuming import Equipment, number_of

QUICK = InFlightLimits(commit_interval=0.1, retry_initial_wait=0.01, drain_on_revoke=0.5, drain_on_stop=0.5)
Handler = Callable[[Event, ConsumerRecord], Awaitable[None]]


def consumer_of(
    settings: KafkaSettings,
    equipment: Equipment,
    handler: Handler,
    limits: InFlightLimits = QUICK,
    membership: MembershipFence | None = None,
) -> ConcurrentConsumer:
    return ConcurrentConsumer(
        settings,
        TICKS,
        group="collector",
        handler=handler,
        dead_letters=equipment.dead_letters,
        metrics=equipment.metrics,
        limits=limits,
        membership=membership,
    )


@asynccontextmanager
async def running(consumer: ConcurrentConsumer) -> AsyncIterator[ConcurrentConsumer]:
    task = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        await consumer.stop()
        await task


def recording_in(numbers: list[int]) -> Handler:
    async def handle(event: Event, _record: ConsumerRecord) -> None:
        numbers.append(number_of(event))

    return handle
