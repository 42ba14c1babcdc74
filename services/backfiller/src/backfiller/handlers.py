"""The subscription of the backfiller: the runs of its chunks, and the health of the exchanges."""

from collections.abc import Callable, Iterable, Sequence

from faststream import AckPolicy
from faststream.kafka import KafkaRouter
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from backfiller.chunks import Chunk
from backfiller.metrics import BackfillerMetrics
from backfiller.pauses import pauses_of, store_pauses
from backfiller.results import apply_run_events
from backfiller.settings import BackfillerSettings
from contracts.exchanges import ExchangeHealthChanged
from contracts.runs import RunFinished, RunStarted
from contracts.topics import EXCHANGE_HEALTH, RUN_EVENTS
from contracts.vocabulary import Trigger
from runtime.consumers.batch import BatchSubscription
from runtime.failpoints import failpoint
from runtime.kafka.clients import group_name, topic_name


def build_router(
    settings: BackfillerSettings,
    batches: BatchSubscription,
    registry: CollectorRegistry,
    engine: AsyncEngine,
    metrics: BackfillerMetrics,
    note: Callable[[Sequence[Chunk]], None],
) -> KafkaRouter:
    """Delivery: at least once, in any order. A repeated event changes nothing. `note` is called with the chunks that a
    batch has changed.
    """
    router = batches.build_router(registry)

    @router.subscriber(
        topic_name(settings, RUN_EVENTS),
        topic_name(settings, EXCHANGE_HEALTH),
        group_id=group_name(settings, batches.group),
        batch=True,
        max_records=settings.batch_max_records,
        ack_policy=AckPolicy.MANUAL,  # `batches` commits after the handler has returned
        **batches.options,
    )
    async def apply_events(events: list[RunStarted | RunFinished | ExchangeHealthChanged]) -> None:
        await store_pauses(engine, pauses_of(each for each in events if isinstance(each, ExchangeHealthChanged)))
        changed = await apply_run_events(engine, range_runs(events), settings.closing(), settings.grace)
        failpoint("backfiller.after_close")
        metrics.add_changed(changed)
        if changed:
            note(changed)

    return router


def range_runs(
    events: Iterable[RunStarted | RunFinished | ExchangeHealthChanged],
) -> Iterable[RunStarted | RunFinished]:
    """The events of runs that a backfiller requested."""
    for each in events:
        if isinstance(each, RunStarted | RunFinished) and each.trigger is Trigger.RANGE:
            yield each
