"""Builds the scheduler. The scheduler restores its assigned partitions, publishes their ticks, and hands the partitions
over in a rebalance.
"""

from contracts.topics import CONFIG_CHANGES, DEAD_LETTERS, RUN_EVENTS, SCHEDULE_STATE, TICKS
from runtime.consumers.tables import CoPartitionedTables
from runtime.dead_letters import DeadLetters
from runtime.kafka.clients import build_broker
from runtime.kafka.publisher import EventPublisher
from runtime.lifecycle.background import Background
from runtime.lifecycle.health import Health
from runtime.metrics import ConsumerMetrics, PublisherMetrics, new_registry
from runtime.process.worker import Worker
from scheduler.book import Book
from scheduler.clock import Clock, wall_clock
from scheduler.due_queue import DueQueue
from scheduler.handlers import Handlers
from scheduler.metrics import SchedulerMetrics
from scheduler.settings import SchedulerSettings
from scheduler.state_publisher import StatePublisher
from scheduler.tick_publisher import TickPublisher
from scheduler.ticker import Ticker

NAME = "scheduler"


def build_worker(settings: SchedulerSettings, clock: Clock = wall_clock) -> Worker:
    """Build all parts of the service. Opens no connection."""
    registry = new_registry()
    metrics = SchedulerMetrics(registry)
    broker = build_broker(settings, NAME)
    publisher = EventPublisher(broker, settings, NAME, PublisherMetrics(registry))
    policy = settings.policy()
    book = Book(policy.spread_ms, policy.catch_up_limit_ms)
    due_queue = DueQueue(book.due_at)

    state_publisher = StatePublisher(
        book,
        publisher,
        clock,
        metrics,
        retry_max_wait_seconds=settings.publish_retry_max_wait_seconds,
        replaced=lambda: not tables.membership_confirmed(),
    )
    tick_publisher = TickPublisher(
        settings,
        book=book,
        due_queue=due_queue,
        state_publisher=state_publisher,
        publisher=publisher,
        clock=clock,
        metrics=metrics,
    )
    handlers = Handlers(
        book=book,
        due_queue=due_queue,
        tick_publisher=tick_publisher,
        state_publisher=state_publisher,
        clock=clock,
        metrics=metrics,
        handover_timeout_seconds=settings.handover_timeout_seconds,
    )
    tables = _tables(settings, handlers, publisher, ConsumerMetrics(registry))
    ticker = Ticker(
        due_queue=due_queue,
        tick_publisher=tick_publisher,
        clock=clock,
        metrics=metrics,
        ownership_problem=tables.ownership_problem,
        clock_set_back=handlers.on_clock_set_back,
        clock_check_seconds=settings.clock_check_seconds,
    )
    metrics.observe(book)
    return Worker(
        name=NAME,
        settings=settings,
        broker=broker,
        registry=registry,
        health=_health(publisher),
        topics=(CONFIG_CHANGES, SCHEDULE_STATE, RUN_EVENTS, TICKS, DEAD_LETTERS),
        backgrounds=(  # stopped in reverse order: first the ticks, then the states, then the partitions
            tables.background(),
            Background("states", state_publisher.run, state_publisher.stop),
            Background("ticker", ticker.run, ticker.stop, ticker.liveness),
        ),
    )


def _tables(
    settings: SchedulerSettings, owner: Handlers, publisher: EventPublisher, metrics: ConsumerMetrics
) -> CoPartitionedTables:
    return CoPartitionedTables(
        settings,
        group=NAME,
        tables=(CONFIG_CHANGES, SCHEDULE_STATE),
        live=(RUN_EVENTS,),
        owner=owner,
        dead_letters=DeadLetters(publisher, NAME, metrics, settings),
        metrics=metrics,
    )


def _health(publisher: EventPublisher) -> Health:
    health = Health()
    health.readiness("publisher", publisher.readiness)
    return health
