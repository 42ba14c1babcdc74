"""Builds the collector from its parts."""

import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from collector.candles.page_requests import ReadingLimits
from collector.exchange.circuit_transitions import ProbePolicy
from collector.exchange.client_options import ClientOptions
from collector.exchange.clients import ExchangeClients
from collector.exchange.health_publisher import ExchangeHealthPublisher
from collector.exchange.health_reader import ExchangeHealthReader
from collector.exchange.market_lists import MarketListPublisher
from collector.handlers import RunHandler, work_class_of
from collector.metrics import CollectorMetrics
from collector.run.collector import Collector
from collector.run.outcomes import Outcomes
from collector.run.retry_policy import RetryPolicy
from collector.run.superseding import is_newer_tick, merged_tick, superseding_key
from collector.settings import CollectorSettings
from contracts.topics import CANDLES, DEAD_LETTERS, EXCHANGE_HEALTH, MARKET_LISTS, RANGE_REQUESTS, RUN_EVENTS, TICKS
from runtime.consumers.concurrent import ConcurrentConsumer
from runtime.consumers.limits import InFlightLimits
from runtime.consumers.membership_fence import MembershipFence
from runtime.consumers.superseding import Superseding
from runtime.dead_letters import DeadLetters
from runtime.kafka.clients import build_broker
from runtime.kafka.publisher import EventPublisher
from runtime.lifecycle.health import Health
from runtime.metrics import ConsumerMetrics, PublisherMetrics, new_registry
from runtime.process.worker import Worker

NAME: Final = "collector"
_COMMIT_SECONDS: Final = 5.0
"""The part of the grace period that is reserved for the last commit at a stop."""


def build_worker(settings: CollectorSettings) -> Worker:
    """Build a collector without starting it."""
    registry = new_registry()
    metrics, consumer_metrics = CollectorMetrics(registry), ConsumerMetrics(registry)
    broker = build_broker(settings, NAME)
    publisher = EventPublisher(broker, settings, NAME, PublisherMetrics(registry))
    this_instance = f"{socket.gethostname()}:{os.getpid()}"
    health_publisher = ExchangeHealthPublisher(publisher, this_instance, time.monotonic)
    market_lists = MarketListPublisher(publisher, this_instance)
    health_reader = ExchangeHealthReader(settings)
    membership = MembershipFence.of(settings)
    clients = ExchangeClients(
        _client_options(settings, membership),
        metrics,
        report=health_publisher.report,
        published=health_reader.published,
        this_instance=this_instance,
        report_markets=market_lists.report,
    )
    outcomes = Outcomes(publisher, metrics, this_instance)
    collector = Collector(
        clients=clients,
        publisher=publisher,
        outcomes=outcomes,
        metrics=metrics,
        policy=RetryPolicy(initial_wait=settings.retry_initial_wait_seconds, max_wait=settings.retry_max_wait_seconds),
        limits=ReadingLimits(
            max_pages=settings.max_pages_per_timeframe, settle_ms=int(settings.settle_minutes * 60_000)
        ),
    )
    run_handler = RunHandler(
        collector=collector,
        outcomes=outcomes,
        metrics=metrics,
        wait_for_exchange_states=health_reader.wait_until_read,
    )
    dead_letters = DeadLetters(publisher, NAME, consumer_metrics, settings)
    consumer = _consumer(settings, run_handler, dead_letters, consumer_metrics, membership)
    health = Health()
    health.readiness("publishing", publisher.readiness)
    return Worker(
        name=NAME,
        settings=settings,
        broker=broker,
        registry=registry,
        health=health,
        topics=(TICKS, RANGE_REQUESTS, RUN_EVENTS, CANDLES, EXCHANGE_HEALTH, MARKET_LISTS, DEAD_LETTERS),
        # They are stopped in reverse order, so that the last states of the runs in flight are published.
        backgrounds=(
            health_reader.background(),
            health_publisher.background(),
            market_lists.background(),
            consumer.background(),
        ),
        resources=lambda: _closing(clients),
    )


def _consumer(
    settings: CollectorSettings,
    run_handler: RunHandler,
    dead_letters: DeadLetters,
    metrics: ConsumerMetrics,
    membership: MembershipFence,
) -> ConcurrentConsumer:
    return ConcurrentConsumer(
        settings,
        TICKS,
        followers=(RANGE_REQUESTS,),
        group=NAME,
        handler=run_handler.on_due,
        dead_letters=dead_letters,
        metrics=metrics,
        work_class_of=work_class_of,
        superseding=Superseding(
            key=superseding_key, is_newer=is_newer_tick, merge=merged_tick, report=run_handler.on_superseded
        ),
        limits=_limits(settings),
        membership=membership,
    )


def _client_options(settings: CollectorSettings, membership: MembershipFence) -> ClientOptions:
    return ClientOptions(
        request_timeout_seconds=settings.request_timeout_seconds,
        markets_refresh_seconds=settings.markets_refresh_minutes * 60,
        markets_check_seconds=settings.markets_check_minutes * 60,
        url_overrides=settings.exchange_url_overrides,
        longest_retry_after_seconds=settings.longest_retry_after_seconds,
        allowed_exchanges=settings.allowed_exchanges,
        background_share=settings.range_share,
        may_send=membership.is_fresh,
        probe_policy=ProbePolicy(
            initial_wait=settings.probe_initial_wait_seconds,
            max_wait=settings.probe_max_wait_seconds,
            failure_limit=settings.unreachable_after_failures,
        ),
    )


def _limits(settings: CollectorSettings) -> InFlightLimits:
    return InFlightLimits(
        in_flight=settings.max_shared_runs,
        per_lane=settings.max_runs_per_lane,
        reserved_per_lane=settings.reserved_runs_per_lane,
        background_per_lane=settings.max_range_runs_per_lane,
        drain_on_stop=max(1.0, settings.shutdown_grace_seconds - _COMMIT_SECONDS),
    )


@asynccontextmanager
async def _closing(clients: ExchangeClients) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await clients.close()
