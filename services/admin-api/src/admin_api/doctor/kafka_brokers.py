"""Checks the disks of the Kafka brokers, and the clock of the active controller."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code

from admin_api.doctor.judging import clock_check
from admin_api.doctor.kafka_requests import DescribeLogDirs, DescribeQuorum
from admin_api.doctor.results import Check, warning
from admin_api.doctor.space import LogFolder, disk_check
from runtime.kafka.client_lifecycle import close_in_time
from runtime.kafka.clients import bootstrap_list
from runtime.kafka.security import security_options
from runtime.settings import KafkaSettings

_TIMEOUT_SECONDS: Final = 30.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ADVICE: Final = "It needs Kafka 3.3 or newer with KRaft, and the right `Describe` on the cluster."


async def broker_checks(settings: KafkaSettings) -> list[Check]:
    """The checks of the brokers. If Kafka refuses a request, the result is a warning."""
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS), _connected(settings) as client:
            brokers = sorted(each.nodeId for each in client.cluster.brokers())
            clock = await _clock_check(client, brokers[0])
            return [clock, *[await _disk_check(client, broker) for broker in brokers]]
    except (KafkaError, OSError, TimeoutError) as error:
        return [warning("Kafka brokers", f"cannot be read: {_text(error)}", "Run the doctor again.")]


@asynccontextmanager
async def _connected(settings: KafkaSettings) -> AsyncIterator[AIOKafkaClient]:
    client = AIOKafkaClient(
        bootstrap_servers=bootstrap_list(settings),
        client_id="doctor",
        request_timeout_ms=settings.kafka_request_timeout_ms,
        **security_options(settings),
    )
    try:
        await client.bootstrap()
        yield client
    finally:
        await close_in_time(client.close(), "A client could not disconnect", action="doctor")


async def _clock_check(client: AIOKafkaClient, broker: int) -> Check:
    """Every broker passes this request on to the active controller, so the clocks of other brokers cannot be read."""
    before = datetime.now(UTC)
    try:
        answer = await client.send(broker, DescribeQuorum())
        theirs = controller_time(answer)
    except (KafkaError, NotImplementedError) as error:
        return warning("clock of Kafka", f"cannot be read: {_text(error)}", _ADVICE)
    except ValueError as error:
        return warning("clock of Kafka", f"cannot be read: {error}", "Run the doctor again.")
    return clock_check("Kafka", theirs, before, datetime.now(UTC))


def controller_time(answer: Any) -> datetime:
    """The time at which the active controller answered. Raises `KafkaError`, and `ValueError` if there is none."""
    _require(answer.error_code)
    [(_, [(_, error_code, leader, _, _, voters, *_)], *_)] = answer.topics
    _require(error_code)
    milliseconds = next((caught_up for replica, _, _, caught_up, *_ in voters if replica == leader), None)
    if milliseconds is None:
        raise ValueError("the cluster has no active controller now")
    return _EPOCH + timedelta(milliseconds=milliseconds)


async def _disk_check(client: AIOKafkaClient, broker: int) -> Check:
    try:
        answer = await client.send(broker, DescribeLogDirs())
        return disk_check(broker, log_folders(answer))
    except (KafkaError, NotImplementedError) as error:
        return warning(f"disk of broker {broker}", f"cannot be read: {_text(error)}", _ADVICE)


def log_folders(answer: Any) -> list[LogFolder]:
    """The folders of a broker. Raises `KafkaError`."""
    _require(answer.error_code)
    return [
        LogFolder(
            path=path,
            is_offline=bool(error_code),
            used=sum(size for _, partitions, *_ in topics for _, size, *_ in partitions),
            total=total,
            usable=usable,
        )
        for error_code, path, topics, total, usable, *_ in answer.results
    ]


def _require(error_code: int) -> None:
    if error_code:
        error = for_code(error_code)
        raise error


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
