"""Instances of admin-api with a relay, a Kafka that can be stopped, and the backlog of the outbox."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from admin_api.app import AdminApi, build_api
from admin_api.settings import AdminApiSettings
from contracts.configs import ConfigChanged
from local_stack.kafka_provider import MemoryKafka, command_memory_kafka
from runtime.settings import KafkaSettings
from store.tables import outbox
from support.kafka import Recorder
from support.polling import eventually

StartRelay = Callable[..., AbstractAsyncContextManager[AdminApi]]
Command = Callable[[str], Awaitable[None]]


def relay_starter(a_setting: Callable[..., AdminApiSettings]) -> StartRelay:
    """Starts an instance whose relay runs on the given Kafka."""

    @asynccontextmanager
    async def start(kafka: KafkaSettings, **changes: Any) -> AsyncIterator[AdminApi]:
        api = build_api(
            a_setting(
                **changes,
                kafka_bootstrap_servers=kafka.kafka_bootstrap_servers,
                kafka_topic_prefix=kafka.kafka_topic_prefix,
                kafka_request_timeout_ms=2_000,
            )
        )
        task = asyncio.create_task(api.relay.run())
        try:
            yield api
        finally:
            await api.relay.stop()
            async with asyncio.timeout(15):
                await task
            await api.close()

    return start


@asynccontextmanager
async def kafka_to_stop(tmp_path: Path) -> AsyncIterator[tuple[KafkaSettings, Command]]:
    """A Kafka for one test. The commands `down 1` and `up 1` stop and restart its broker."""
    kafka = await MemoryKafka.start(logs=tmp_path, run=tmp_path, reason="a test stops it")

    async def command(line: str) -> None:
        await command_memory_kafka(kafka.control, [line])

    settings = KafkaSettings(kafka_bootstrap_servers=kafka.bootstrap, kafka_fetch_max_wait_ms=20)
    try:
        yield settings, command
    finally:
        await kafka.stop()


async def backlog(api: AdminApi) -> int:
    async with api.engine.connect() as connection:
        return await connection.scalar(sa.select(sa.func.count()).select_from(outbox)) or 0


async def until_outbox_is_empty(api: AdminApi, within: float = 20) -> None:
    async def is_empty() -> bool:
        return await backlog(api) == 0

    await eventually(is_empty, within=within)


def versions(recorder: Recorder) -> list[int]:
    """The versions of all ConfigChanged events in order of arrival, without repetitions."""
    received = [event.config.version for event in recorder.events(ConfigChanged)]
    return list(dict.fromkeys(received))


def active(api: AdminApi) -> bool:
    return bool(api.metrics.relay_active._value.get() == 1)
