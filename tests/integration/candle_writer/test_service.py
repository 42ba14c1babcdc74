import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from candle_writer.app import NAME, build_worker
from candle_writer.settings import CandleWriterSettings
from contracts.candles import CandlesCollected
from contracts.dead_letters import DeadLetter
from contracts.topics import CANDLES, DEAD_LETTERS
from local_stack.keeper import KeptPostgres
from runtime.consumers.commits import RebalanceSafeCommits
from runtime.process.worker import Worker
from runtime.settings import KafkaSettings
from support.consuming import committed
from support.fetches import a_candle, a_fetch
from support.kafka import read_topic
from support.polling import eventually
from support.writers import (
    database_away,
    everything_is_read,
    measured,
    publish,
    publishing,
    query,
    rewind,
    running,
    worker_settings,
)

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]

EVERYTHING = "SELECT * FROM candles ORDER BY 1, 2"
COUNT = "SELECT count(*) FROM candles"

Until = Callable[..., Awaitable[None]]


@pytest.fixture
def settings(kafka_settings: KafkaSettings, database_url: str) -> CandleWriterSettings:
    return worker_settings(CandleWriterSettings, kafka_settings, database_url)


@pytest.fixture
def until(database_url: str) -> Until:
    """Wait until a query has this result."""

    async def until(sql: str, expected: list[tuple[Any, ...]], within: float = 20) -> None:
        async def answered() -> bool:
            found = await query(database_url, sql)
            assert found == expected
            return True

        await eventually(answered, within=within)

    return until


def a_busy_morning() -> list[CandlesCollected]:
    """Twenty series, fetched six times each with an overlap of one candle, shuffled and each fetch twice. The
    close of a candle is the second of its newest fetch: 20 * 31 candles.
    """
    fetches = [
        a_fetch(
            *(a_candle(minute, close=float(second)) for minute in range(second * 5, second * 5 + 6)),
            second=second,
            symbol=f"C{number}/USDT",
        )
        for number in range(20)
        for second in range(6)
    ] * 2
    random.Random(7).shuffle(fetches)
    return fetches


async def test_shuffled_and_repeated_fetches_give_the_newest_candles(
    settings: CandleWriterSettings, until: Until, database_url: str
) -> None:
    async with running(build_worker(settings)) as worker:
        await publish(settings, CANDLES, a_busy_morning())
        await eventually(lambda: everything_is_read(settings, NAME, CANDLES), within=20)
        assert await query(database_url, COUNT) == [(620,)]
        newest = "least(5, floor(extract(epoch FROM open_time - '2026-11-22 12:00Z') / 300))"
        assert await query(database_url, f"SELECT * FROM ohlcv WHERE close <> {newest}") == []
        assert measured(worker, "candlekeep_candles_written_total") >= 620
    assert await read_topic(settings, DEAD_LETTERS) == []


@pytest.mark.real_kafka  # the in-memory broker accepts no commit from outside the group
async def test_reading_everything_again_from_the_beginning_gives_the_identical_table(
    settings: CandleWriterSettings, database_url: str
) -> None:
    async with running(build_worker(settings)):
        await publish(settings, CANDLES, a_busy_morning())
        await eventually(lambda: everything_is_read(settings, NAME, CANDLES), within=20)
    before = await query(database_url, EVERYTHING)
    assert len(before) == 620
    await rewind(settings, NAME, CANDLES)
    assert not await everything_is_read(settings, NAME, CANDLES)
    async with running(build_worker(settings)) as worker:
        await eventually(lambda: everything_is_read(settings, NAME, CANDLES), within=20)
        assert measured(worker, "candlekeep_candles_written_total") == 0
    assert await query(database_url, EVERYTHING) == before


async def test_a_crash_between_write_and_commit_gives_the_same_rows(
    settings: CandleWriterSettings, until: Until, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die_before_committing(*_: object, **__: object) -> bool:
        return False

    with monkeypatch.context() as patch:
        patch.setattr(RebalanceSafeCommits, "commit", die_before_committing)
        async with running(build_worker(settings)):
            await publish(settings, CANDLES, a_busy_morning())
            await until(COUNT, [(620,)])
    assert not await committed(settings, NAME, CANDLES)
    before = await query(database_url, "SELECT series_id, open_time FROM candles ORDER BY 1, 2")
    async with running(build_worker(settings)):
        await eventually(lambda: everything_is_read(settings, NAME, CANDLES), within=20)
    assert await query(database_url, "SELECT series_id, open_time FROM candles ORDER BY 1, 2") == before


async def test_during_a_database_outage_nothing_is_committed_and_afterwards_nothing_is_missing(
    settings: CandleWriterSettings, until: Until, database_url: str, postgres: KeptPostgres
) -> None:
    async with running(build_worker(settings)) as worker:
        await publish(settings, CANDLES, [a_fetch()])
        await eventually(lambda: everything_is_read(settings, NAME, CANDLES))
        before = await committed(settings, NAME, CANDLES)
        async with database_away(postgres.url, database_url):
            await publish(settings, CANDLES, a_busy_morning())
            await eventually(lambda: _reports_failing_writes(worker), within=20)
            assert worker.health.live_problems() == {}
            assert await committed(settings, NAME, CANDLES) == before
        await until(COUNT, [(621,)], within=40)
        await eventually(lambda: everything_is_read(settings, NAME, CANDLES))
        assert not worker.health.ready_problems()
    assert await read_topic(settings, DEAD_LETTERS) == []


async def test_unreadable_and_unstorable_messages_become_dead_letters_and_the_rest_is_written(
    settings: CandleWriterSettings, database_url: str
) -> None:
    at = datetime.now(UTC) + timedelta(hours=2)
    beyond_time = a_fetch(symbol="ETH/USDT", fetched_at=at)
    good = [a_fetch(a_candle(minute), second=minute) for minute in range(40)]
    async with running(build_worker(settings)), publishing(settings) as publisher:
        await publisher.publish_many(CANDLES, [*good[:20], beyond_time, *good[20:]])
        await publisher.publish_raw(CANDLES, key="binance|BTC/USDT|1m", value=b"{}", headers={})
        await publisher.publish_raw(CANDLES, key="binance|BTC/USDT|1m", value=None, headers={})
        await eventually(lambda: everything_is_read(settings, NAME, CANDLES), within=20)
    letters = [record.event for record in await read_topic(settings, DEAD_LETTERS)]
    assert len(letters) == 3
    assert sum("more than an hour after" in letter.error for letter in letters if isinstance(letter, DeadLetter)) == 1
    assert await query(database_url, COUNT) == [(40,)]


@pytest.mark.real_kafka  # the in-memory broker has a race if a group has several members
async def test_two_instances_share_the_series(settings: CandleWriterSettings, database_url: str) -> None:
    async with running(build_worker(settings)) as one, running(build_worker(settings)) as other:
        await publish(settings, CANDLES, a_busy_morning())
        await eventually(lambda: everything_is_read(settings, NAME, CANDLES), within=20)
        assert min(measured(each, "candlekeep_candles_written_total") for each in (one, other)) > 0
    assert await query(database_url, "SELECT count(*), count(DISTINCT series_id) FROM candles") == [(620, 20)]


def _reports_failing_writes(worker: Worker) -> bool:
    return any("writing fails" in problem for problem in worker.health.ready_problems().values())
