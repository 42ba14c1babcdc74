"""The doctor on a real Kafka and a real Postgres, on which things are broken on purpose."""

import re

import pytest
import sqlalchemy as sa
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from sqlalchemy.ext.asyncio import create_async_engine

from admin_api.doctor.database import database_checks
from admin_api.doctor.kafka import kafka_checks
from admin_api.doctor.results import Check, State, exit_code
from contracts.topics import CANDLES, EXCHANGE_HEALTH, MARKET_LISTS, TICKS
from runtime.database import async_url
from runtime.kafka.clients import build_admin, build_broker, build_consumer, topic_name
from runtime.settings import DatabaseSettings, KafkaSettings
from support.polling import eventually

pytestmark = [pytest.mark.postgres, pytest.mark.kafka]


def _by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


@pytest.mark.real_kafka
async def test_broken_topics_and_a_stopped_consumer_are_named(kafka_settings: KafkaSettings) -> None:
    ticks, candles = topic_name(kafka_settings, TICKS), topic_name(kafka_settings, CANDLES)
    missing, adjusted = topic_name(kafka_settings, MARKET_LISTS), topic_name(kafka_settings, EXCHANGE_HEALTH)
    admin = build_admin(kafka_settings)
    await admin.start()
    try:
        await admin.delete_topics([ticks, missing])

        async def wrong_topic_exists() -> bool:
            await admin.create_topics([NewTopic(ticks, 1, 1)])
            [found] = await admin.describe_topics([ticks])
            return len(found["partitions"]) == 1 and not found["error_code"]

        await eventually(wrong_topic_exists, within=30, every=0.2)
        settings = {"cleanup.policy": "delete"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, adjusted, configs=settings)])
    finally:
        await admin.close()
    await _leave_lag(kafka_settings, candles)

    async def all_changes_are_seen() -> dict[str, Check]:
        """A broker applies changed settings some time after its answer."""
        checks = _by_name(await kafka_checks(kafka_settings))
        assert checks[f"topic {adjusted}"].state is State.WARNING
        return checks

    checks = await eventually(all_changes_are_seen, within=30, every=0.2)
    assert checks["Kafka"].state is State.OK
    assert (checks["clock of Kafka"].state, "compared with" in checks["clock of Kafka"].found) == (State.OK, True)
    [disk] = [check for name, check in checks.items() if name.startswith("disk of broker")]
    assert re.search(r" of .+ \(\d+%\) free, .+ of messages", disk.found)
    assert checks[f"topic {ticks}"].state is State.FAILED
    assert "has 1 partitions, 24 are declared" in checks[f"topic {ticks}"].found
    assert checks[f"topic {missing}"].found == "is missing"
    assert "cleanup.policy is delete" in checks[f"topic {adjusted}"].found
    assert checks[f"topic {candles}"].state is State.OK
    writer = checks["consumer group candle-writer"]
    assert (writer.state, writer.found) == (State.FAILED, "no instance is connected, 2 messages wait")


async def _leave_lag(settings: KafkaSettings, topic: str) -> None:
    broker = build_broker(settings, "test")
    consumer = build_consumer(settings, group="candle-writer", client_id="candle-writer")
    consumer.subscribe([topic])
    await broker.start()
    await consumer.start()
    try:
        for _ in range(3):
            await broker.publish(b"{}", topic, key=b"k", partition=0)
        await consumer.commit({TopicPartition(topic, 0): 1})
    finally:
        await consumer.stop()
        await broker.stop()


async def test_a_kafka_that_does_not_answer_is_one_failure() -> None:
    settings = KafkaSettings(kafka_bootstrap_servers="127.0.0.1:1")
    [check] = await kafka_checks(settings)
    assert (check.state, "127.0.0.1:1" in check.found) == (State.FAILED, True)


def _settings(url: str) -> DatabaseSettings:
    return DatabaseSettings(database_url=url)


async def test_a_current_database_is_healthy_and_an_old_one_is_not(database_url: str) -> None:
    good = await database_checks(_settings(database_url))
    assert exit_code(good) == 0
    assert [check.name for check in good] == [
        *("Postgres", "TLS to Postgres", "clock of Postgres", "database roles", "schema", "outbox", "size of Postgres")
    ]
    engine = create_async_engine(async_url(database_url))
    async with engine.begin() as connection:
        await connection.execute(
            sa.text(
                "INSERT INTO outbox (topic, key, value, headers, created_at)"
                " VALUES ('ticks', 'k', '', '{}', now() - interval '1 hour')"
            )
        )
    waiting = _by_name(await database_checks(_settings(database_url)))
    async with engine.begin() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '0003'"))
    await engine.dispose()
    behind = _by_name(await database_checks(_settings(database_url)))
    assert (waiting["outbox"].state, "1 changes wait" in waiting["outbox"].found) == (State.FAILED, True)
    assert (behind["schema"].state, "revision 0003" in behind["schema"].found) == (State.FAILED, True)


async def test_a_postgres_that_does_not_answer_is_one_failure() -> None:
    [check] = await database_checks(_settings("postgresql://user@127.0.0.1:1/nothing"))
    assert (check.name, check.state) == ("Postgres", State.FAILED)
