"""Brokers, consumers and names. Factories only: nothing connects before it is started."""

import asyncio
from typing import Any, Literal, TypedDict

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker

from contracts.topics import Topic
from runtime.kafka.client_lifecycle import close_in_time
from runtime.logs import log
from runtime.settings import KafkaSettings
from runtime.waiting import Backoff

MAX_MESSAGE_BYTES = 2 * 1024 * 1024
"""Twice Kafka's default: a dead letter holds a whole message in base64."""

_ATTEMPT_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_REMIND_SECONDS = 30.0


def topic_name(settings: KafkaSettings, topic: Topic) -> str:
    """The topic's name on this cluster."""
    return settings.kafka_topic_prefix + topic.name


def group_name(settings: KafkaSettings, group: str) -> str:
    """The consumer group's name on this cluster."""
    return settings.kafka_topic_prefix + group


def bootstrap_list(settings: KafkaSettings) -> list[str]:
    """The clients want a list: they take "a:1,b:2" for one host."""
    return settings.kafka_bootstrap_servers.split(",")


def build_broker(settings: KafkaSettings, client_id: str, *, graceful_timeout: float = 30.0) -> KafkaBroker:
    """A FastStream broker whose producer is idempotent and waits for all in-sync replicas.

    Topics are never created by it (FastStream would create them with one partition and undo the sharding), and its
    own logger is off: it writes two lines per message.
    """
    return KafkaBroker(
        bootstrap_list(settings),
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        compression_type="lz4",
        max_batch_size=128 * 1024,
        max_request_size=MAX_MESSAGE_BYTES,
        request_timeout_ms=settings.kafka_request_timeout_ms,
        metadata_max_age_ms=60_000,
        allow_auto_create_topics=False,
        graceful_timeout=graceful_timeout,
        logger=None,
        apply_types=False,
    )


class ConsumerOptions(TypedDict):
    """Options that every consumer shares, with FastStream or without: time limits and latency."""

    session_timeout_ms: int
    heartbeat_interval_ms: int
    rebalance_timeout_ms: int
    max_poll_interval_ms: int
    fetch_max_wait_ms: int
    auto_offset_reset: Literal["earliest"]


def consumer_options(settings: KafkaSettings) -> ConsumerOptions:
    """The options for these settings."""
    return {
        "session_timeout_ms": settings.kafka_session_timeout_ms,
        "heartbeat_interval_ms": max(200, min(3_000, settings.kafka_session_timeout_ms // 4)),
        "rebalance_timeout_ms": settings.kafka_rebalance_timeout_ms,
        "max_poll_interval_ms": 15 * 60_000,
        "fetch_max_wait_ms": settings.kafka_fetch_max_wait_ms,
        "auto_offset_reset": "earliest",
    }


def build_consumer(settings: KafkaSettings, *, group: str, client_id: str, **overrides: Any) -> AIOKafkaConsumer:
    """An unsubscribed consumer of a group that commits only when told to. Must be called inside the event loop."""
    options: dict[str, Any] = {
        **consumer_options(settings),
        "group_id": group_name(settings, group),
        "client_id": client_id,
        "enable_auto_commit": False,
        "request_timeout_ms": settings.kafka_request_timeout_ms,
        "metadata_max_age_ms": 60_000,
        **overrides,
    }
    return AIOKafkaConsumer(bootstrap_servers=bootstrap_list(settings), **options)


def build_admin(settings: KafkaSettings) -> AIOKafkaAdminClient:
    """An administration client, to be started and closed by the caller."""
    return AIOKafkaAdminClient(
        bootstrap_servers=bootstrap_list(settings),
        client_id="candlekeep-admin",
        request_timeout_ms=settings.kafka_request_timeout_ms,
    )


async def wait_for_kafka(settings: KafkaSettings) -> None:
    """Return once a broker answers; retries for ever, with a line now and then."""
    loop = asyncio.get_running_loop()
    backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
    waiting_since, reminded_at = loop.time(), -_REMIND_SECONDS
    while (problem := await _knock(settings)) is not None:
        if loop.time() - reminded_at >= _REMIND_SECONDS:
            reminded_at = loop.time()
            log.warning(
                "Kafka does not answer, waiting for it",
                action="kafka_unreachable",
                bootstrap_servers=settings.kafka_bootstrap_servers,
                error=problem,
                waited_seconds=round(loop.time() - waiting_since),
            )
        await backoff.sleep()


async def _knock(settings: KafkaSettings) -> str | None:
    admin = build_admin(settings)
    try:
        async with asyncio.timeout(_ATTEMPT_SECONDS):
            await admin.start()
    except (KafkaError, OSError, TimeoutError) as error:
        return str(error) or type(error).__name__
    else:
        return None
    finally:
        await close_in_time(admin.close(), "A client could not disconnect", action="admin_stop_failed")
