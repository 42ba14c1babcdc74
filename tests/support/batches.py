"""A FastStream batch subscription in a test, declared as a service's `handlers.py` declares it."""

from collections.abc import Awaitable, Callable, Sequence

from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from contracts.event import Event
from contracts.topics import Topic
from runtime.consumers.batch import BatchSubscription, Tombstone
from runtime.kafka.clients import group_name, topic_name
from runtime.settings import KafkaSettings
from support.consuming import Equipment

Handler = Callable[[list[Event | Tombstone]], Awaitable[None]]


def subscribe(  # noqa: PLR0913 -- the parts of a subscription; all but three by name
    broker: KafkaBroker,
    settings: KafkaSettings,
    topics: Sequence[Topic],
    *,
    group: str,
    handler: Handler,
    equipment: Equipment,
    is_transient: Callable[[Exception], bool] = lambda _: False,
    max_records: int = 1000,
) -> BatchSubscription:
    """Hand the topics' events to `handler` once the broker is started."""
    batches = BatchSubscription(
        broker,
        settings,
        topics,
        group=group,
        dead_letters=equipment.dead_letters,
        metrics=equipment.metrics,
        is_transient=is_transient,
    )
    router = batches.build_router(equipment.registry)

    @router.subscriber(
        *(topic_name(settings, topic) for topic in topics),
        group_id=group_name(settings, group),
        batch=True,
        max_records=max_records,
        ack_policy=AckPolicy.MANUAL,
        **batches.options,
    )
    async def store(events: list[Event | Tombstone]) -> None:
        await handler(events)

    broker.include_router(router)
    return batches
