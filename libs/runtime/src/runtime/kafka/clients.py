"""Builds brokers, consumers and names. Nothing connects before it is started."""

import asyncio
from typing import Any, Literal, TypedDict

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError
from faststream.kafka import KafkaBroker

from contracts.topics import Topic
from runtime.kafka.client_lifecycle import close_in_time
from runtime.kafka.diagnosis import KafkaProblem, NoConnection, find_problem
from runtime.kafka.security import broker_options, security_options
from runtime.logs import log
from runtime.settings import KafkaSettings
from runtime.waiting import Backoff

MAX_MESSAGE_BYTES = 2 * 1024 * 1024
"""Twice Kafka's default: a dead letter contains a whole message in base64."""

_ATTEMPT_SECONDS = 10.0
_INITIAL_WAIT_SECONDS = 0.2
_MAX_WAIT_SECONDS = 5.0
_LOG_INTERVAL_SECONDS = 30.0


def topic_name(settings: KafkaSettings, topic: Topic) -> str:
    """The topic's name on this cluster."""
    return settings.kafka_topic_prefix + topic.name


def group_name(settings: KafkaSettings, group: str) -> str:
    """The consumer group's name on this cluster."""
    return settings.kafka_topic_prefix + group


def bootstrap_list(settings: KafkaSettings) -> list[str]:
    """The servers as a list: aiokafka would read the text "a:1,b:2" as one host."""
    return settings.kafka_bootstrap_servers.split(",")


def build_broker(settings: KafkaSettings, client_id: str, *, graceful_timeout: float = 30.0) -> KafkaBroker:
    """A FastStream broker whose producer is idempotent and waits for all in-sync replicas.

    It never creates topics: FastStream would create them with one partition, which breaks the sharding. FastStream's
    logger is off, because it writes two lines per message. Type validation is off, because messages are decoded before
    the handler.
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
        **broker_options(settings),
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
    """An unsubscribed consumer of a group, without automatic commits. Call it inside the event loop."""
    options: dict[str, Any] = {
        **consumer_options(settings),
        "group_id": group_name(settings, group),
        "client_id": client_id,
        "enable_auto_commit": False,
        "request_timeout_ms": settings.kafka_request_timeout_ms,
        "metadata_max_age_ms": 60_000,
        **overrides,
    }
    return AIOKafkaConsumer(bootstrap_servers=bootstrap_list(settings), **security_options(settings), **options)


def build_producer(settings: KafkaSettings, *, client_id: str, **overrides: Any) -> AIOKafkaProducer:
    """An idempotent producer that waits for all in-sync replicas. Call it inside the event loop."""
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap_list(settings),
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        request_timeout_ms=settings.kafka_request_timeout_ms,
        **security_options(settings),
        **overrides,
    )


def build_admin(settings: KafkaSettings) -> AIOKafkaAdminClient:
    """An administration client. The caller starts and closes it."""
    return AIOKafkaAdminClient(
        bootstrap_servers=bootstrap_list(settings),
        client_id="candlekeep-admin",
        request_timeout_ms=settings.kafka_request_timeout_ms,
        **security_options(settings),
    )


async def wait_for_kafka(settings: KafkaSettings) -> None:
    """Return when a broker answers. Retries indefinitely, and logs every 30 seconds."""
    loop = asyncio.get_running_loop()
    backoff = Backoff(_INITIAL_WAIT_SECONDS, _MAX_WAIT_SECONDS)
    started_at, logged_at = loop.time(), -_LOG_INTERVAL_SECONDS
    while (problem := await _connect(settings)) is not None:
        if loop.time() - logged_at >= _LOG_INTERVAL_SECONDS:
            logged_at = loop.time()
            _log_problem(settings, problem, waited_seconds=round(loop.time() - started_at))
        await backoff.sleep()


def _log_problem(settings: KafkaSettings, problem: KafkaProblem, *, waited_seconds: int) -> None:
    context = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "error": problem.sentence,
        "waited_seconds": waited_seconds,
    }
    if problem.is_refusal:
        log.error("Kafka cannot be used, waiting until this is repaired", action="kafka_refused", **context)
    else:
        log.warning("Kafka does not answer, waiting for it", action="kafka_unreachable", **context)


async def _connect(settings: KafkaSettings) -> KafkaProblem | None:
    admin = build_admin(settings)
    try:
        async with asyncio.timeout(_ATTEMPT_SECONDS):
            await start_admin(settings, admin)
    except NoConnection as error:
        return error.problem
    except (KafkaError, OSError, TimeoutError) as error:
        return KafkaProblem(str(error) or type(error).__name__, is_refusal=False)
    else:
        return None
    finally:
        await close_in_time(admin.close(), "A client could not disconnect", action="admin_stop_failed")


async def start_admin(settings: KafkaSettings, admin: AIOKafkaAdminClient) -> None:
    """Raises `NoConnection` with the reason if no broker accepts this client."""
    try:
        await admin.start()
    except KafkaConnectionError as error:
        if (problem := await find_problem(settings)) is None:
            raise
        raise NoConnection(problem) from error
