"""Attacks by Kafka messages with values that one layer can hold and the next one cannot."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaProducer

from contracts.candles import CandlesCollected
from contracts.configs import CollectionConfig, ConfigChanged
from contracts.event import Event
from contracts.runs import RunFinished, RunStarted
from contracts.ticks import TickDue
from contracts.topics import CANDLES, CONFIG_CHANGES, RUN_EVENTS, TICKS, Topic
from contracts.vocabulary import RunStatus, Trigger
from runtime.kafka.codec import encode
from support.abuse.attack import Counts, Target

_YEAR_1 = "0001-01-01T00:00:00Z"
_YEAR_9999_MS = 253_402_300_799_000
_SERIES: dict[str, Any] = {"exchange": "binance", "symbol": "FORGED/USDT"}


async def values_out_of_range(target: Target, counts: Counts) -> None:
    """Years 1 and 10000, a fetch in the future, a version of 2^62, and a message of 900 kB."""
    producer = AIOKafkaProducer(bootstrap_servers=target.kafka.split(","), max_request_size=2_000_000)
    await producer.start()
    try:
        for topic, key, value, headers in _messages(target.spare_ids[-1]):
            counts.sent += 1
            await producer.send_and_wait(f"{target.topic_prefix}{topic.name}", value, key, headers=headers)
            counts.answers["acknowledged"] += 1
    finally:
        await producer.stop()


_Message = tuple[Topic, bytes, bytes, list[tuple[str, bytes]]]


def _messages(config_id: int) -> Iterator[_Message]:
    now = datetime.now(UTC)
    run: dict[str, Any] = {
        **_SERIES,
        "occurred_at": now,
        "config_id": config_id,
        "timeframes": ("1m",),
        "trigger": Trigger.SCHEDULED,
        "scheduled_for": now,
        "started_at": now,
    }
    started = RunStarted(**run, run_id=uuid4(), deadline_at=now, collector="forged")
    finished = RunFinished(
        **run,
        run_id=uuid4(),
        finished_at=now,
        status=RunStatus.FAILED,
        records_collected=0,
        error_class="timeout",
        error_message="forged",
        results=(),
    )
    candles = CandlesCollected(
        **_SERIES, occurred_at=now, run_id=uuid4(), timeframe="1m", fetched_at=now, rows=((0, 1, 1, 1, 1, 1),)
    )
    config = CollectionConfig(
        **_SERIES,
        config_id=config_id,
        version=1,
        timeframes=("1m",),
        interval_minutes=1,
        enabled=True,
        updated_at=now,
    )
    tick = TickDue(
        occurred_at=now,
        run_id=uuid4(),
        config=config,
        trigger=Trigger.SCHEDULED,
        scheduled_for=now,
        deadline_seconds=20,
        lane="binance",
    )
    yield _message(RUN_EVENTS, started, scheduled_for=_YEAR_1, started_at=_YEAR_1, deadline_at=_YEAR_1)
    yield _message(RUN_EVENTS, started, run_id=str(uuid4()), deadline_at="9999-12-31T23:59:59Z")
    yield _message(RUN_EVENTS, finished, error_message="x" * 900_000)
    yield _message(CANDLES, candles, rows=[[_YEAR_9999_MS + 1000, 1, 1, 1, 1, 1]])
    yield _message(CANDLES, candles, fetched_at=(now + timedelta(days=3650)).isoformat())
    far_ahead = config.model_dump(mode="json") | {"version": 2**62}
    yield _message(CONFIG_CHANGES, ConfigChanged(occurred_at=now, config=config), config=far_ahead)
    yield _message(TICKS, tick, scheduled_for=_YEAR_1)


def _message(topic: Topic, event: Event, **changes: Any) -> _Message:
    """The message of an event, with fields that its model would refuse."""
    value, headers = encode(event, "forged")
    document = json.loads(value) | {"event_id": str(uuid4())} | changes
    return topic, event.key().encode(), json.dumps(document).encode(), [(k, v.encode()) for k, v in headers.items()]
