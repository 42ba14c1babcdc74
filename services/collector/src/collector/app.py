"""What a collector is made of."""

import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from collector.collect import Collector
from collector.exchange.clients import ClientOptions, ExchangeClients
from collector.exchange.health import ProbePolicy
from collector.exchange_health_reader import ExchangeHealthReader
from collector.exchange_news import ExchangeNews
from collector.handlers import Doorbell, is_manual
from collector.metrics import CollectorMetrics
from collector.outcomes import Outcomes
from collector.retry import RetryPolicy
from collector.settings import CollectorSettings
from contracts.topics import CANDLES, DEAD_LETTERS, EXCHANGE_HEALTH, RUN_EVENTS, TICKS
from runtime.concurrent import ConcurrentConsumer, Limits
from runtime.dead_letters import DeadLetters
from runtime.health import Health
from runtime.kafka import build_broker
from runtime.metrics import ConsumerMetrics, PublisherMetrics, new_registry
from runtime.publisher import EventPublisher
from runtime.worker import Worker

NAME: Final = "collector"
_COMMIT_SECONDS: Final = 5.0
"""Kept back from the grace at stop, for the last commit."""


def build_worker(settings: CollectorSettings) -> Worker:
    """A collector, not started yet."""
    registry = new_registry()
    metrics, consumer_metrics = CollectorMetrics(registry), ConsumerMetrics(registry)
    broker = build_broker(settings, NAME)
    publisher = EventPublisher(broker, settings, NAME, PublisherMetrics(registry))
    this_instance = f"{socket.gethostname()}:{os.getpid()}"
    news = ExchangeNews(publisher, this_instance, time.monotonic)
    health_reader = ExchangeHealthReader(settings)
    clients = ExchangeClients(
        ClientOptions(
            request_timeout_seconds=settings.request_timeout_seconds,
            markets_refresh_seconds=settings.markets_refresh_minutes * 60,
            url_overrides=settings.exchange_url_overrides,
            longest_retry_after_seconds=settings.longest_retry_after_seconds,
            probing=ProbePolicy(
                first=settings.probe_first_wait_seconds,
                longest=settings.probe_longest_wait_seconds,
                strikes=settings.unreachable_after,
            ),
        ),
        metrics,
        tell=news.tell,
        published=health_reader.latest,
    )
    outcomes = Outcomes(publisher, metrics, this_instance)
    collector = Collector(
        clients=clients,
        publisher=publisher,
        outcomes=outcomes,
        metrics=metrics,
        policy=RetryPolicy(
            first_wait=settings.retry_first_wait_seconds, longest_wait=settings.retry_longest_wait_seconds
        ),
        max_pages=settings.max_pages_per_timeframe,
    )
    doorbell = Doorbell(
        collector=collector,
        outcomes=outcomes,
        metrics=metrics,
        this_instance=this_instance,
        health_known=health_reader.wait_until_read,
    )
    consumer = ConcurrentConsumer(
        settings,
        TICKS,
        group=NAME,
        handler=doorbell.on_tick,
        dead_letters=DeadLetters(publisher, NAME, consumer_metrics, settings),
        metrics=consumer_metrics,
        urgent=is_manual,
        limits=Limits(
            in_flight=settings.max_runs,
            per_lane=settings.max_runs_per_lane,
            own_per_lane=settings.max_runs_of_its_own,
            drain_on_stop=max(1.0, settings.shutdown_grace_seconds - _COMMIT_SECONDS),
        ),
    )
    health = Health()
    health.readiness("publishing", publisher.readiness)
    return Worker(
        name=NAME,
        settings=settings,
        broker=broker,
        registry=registry,
        health=health,
        topics=(TICKS, RUN_EVENTS, CANDLES, EXCHANGE_HEALTH, DEAD_LETTERS),
        backgrounds=(health_reader.background(), consumer.background(), news.background()),
        resources=lambda: _closing(clients),
    )


@asynccontextmanager
async def _closing(clients: ExchangeClients) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await clients.close()
