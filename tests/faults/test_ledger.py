"""Candles and ledger agree at every instant, while two candle-writers are killed around and in the middle of writes."""

import asyncio
import itertools
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from candle_writer.app import NAME
from contracts.candles import CandlesCollected
from contracts.topics import CANDLES
from runtime.settings import KafkaSettings
from support.ledger_disagreements import DISAGREEMENTS
from support.ledgers import (
    SeriesHistory,
    StoredLedger,
    a_history,
    expected_rejections,
    expected_slots,
)
from support.polling import eventually
from support.writers import everything_is_read, publishing

pytestmark = [
    pytest.mark.faults,
    pytest.mark.kafka,
    pytest.mark.real_kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(240),
]
KILLS = ("candle_writer.before_ledger=kill@2", "candle_writer.before_write=kill@3", "candle_writer.after_write=kill@3")
HISTORIES = 40


class Writers:
    """Instances of candle-writer in their own processes. A killed one starts again, with its next failpoint."""

    def __init__(self, settings: KafkaSettings, database_url: str) -> None:
        variables = {name.upper(): str(value) for name, value in settings.model_dump().items()}
        self._environment = {
            **os.environ,
            **variables,
            "DATABASE_URL": database_url,
            "HTTP_PORT": "0",
            "BATCH_MAX_RECORDS": "20",
        }
        self.kills = 0

    async def run(self, failpoints: Sequence[str], stop: asyncio.Event) -> None:
        """One instance. It must die at each failpoint, and end with exit code 0 when it is stopped."""
        for failpoint in failpoints:
            async with self._process(failpoint) as process:
                assert await process.wait() == -signal.SIGKILL
                self.kills += 1
        async with self._process("") as process:
            await stop.wait()
            process.terminate()
            assert await process.wait() == 0

    @asynccontextmanager
    async def _process(self, failpoints: str) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "candle_writer"),
            env={**self._environment, "FAILPOINTS": failpoints},
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@asynccontextmanager
async def disagreements(database_url: str) -> AsyncIterator[list[Any]]:
    """Compare rows and ledger again and again, each time in one snapshot, until the block ends."""
    found: list[Any] = []
    done = asyncio.Event()

    async def compare() -> int:
        connection = await asyncpg.connect(database_url)
        try:
            for number in itertools.count():
                found.extend(tuple(row)[:3] for row in await connection.fetch(DISAGREEMENTS))
                if done.is_set():
                    return number
                await asyncio.sleep(0)
        finally:
            await connection.close()
        raise AssertionError

    comparing = asyncio.create_task(compare())
    try:
        yield found
    finally:
        done.set()
        comparisons = await comparing
    assert comparisons > 50


async def test_candles_and_ledger_agree_while_two_writers_are_killed(
    kafka_settings: KafkaSettings, database_url: str
) -> None:
    rng = random.Random(20_261_127)
    histories = [a_history(rng, number) for number in range(HISTORIES)]
    writers, stop = Writers(kafka_settings, database_url), asyncio.Event()
    async with disagreements(database_url) as found, asyncio.TaskGroup() as running:
        for failpoints in (KILLS, KILLS[::-1]):
            running.create_task(writers.run(failpoints, stop))
        await publish_until_killed(kafka_settings, rng, histories, writers)
        await eventually(lambda: everything_is_read(kafka_settings, NAME, CANDLES), within=60, every=0.5)
        stop.set()
    assert set(found) == set()
    connection = await asyncpg.connect(database_url)
    try:
        stored = await StoredLedger.read(connection)
    finally:
        await connection.close()
    for history in histories:
        assert stored.slots(history) == expected_slots(history, history.events), history.symbol
        assert stored.rejections(history) == expected_rejections(history.events), history.symbol


async def publish_until_killed(
    settings: KafkaSettings, rng: random.Random, histories: Sequence[SeriesHistory], writers: Writers
) -> None:
    """Publish every event at least once, in any order, and further copies until each failpoint was reached."""
    events: list[CandlesCollected] = [event for history in histories for event in history.events]
    rng.shuffle(events)
    async with publishing(settings) as publisher:
        for start in itertools.count(step=20):
            await publisher.publish_many(CANDLES, events[start : start + 20] or rng.sample(events, 20))
            if start >= len(events) and writers.kills == 2 * len(KILLS):
                return
            await asyncio.sleep(0.3)
