"""The backfiller makes the history of a config whole and repairs its old holes."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.coverage import to_milliseconds
from contracts.ranges import Purpose
from contracts.vocabulary import JobType
from runtime.process.worker import Worker
from runtime.settings import KafkaSettings
from support.backfilling.collector import collecting
from support.backfilling.current_minute import first_minute, minutes_ago, now, start_date
from support.backfilling.tables import (
    OPEN_MINUTES,
    OVERLAPS,
    a_covered_series,
    chunks_by_state,
    none_open,
    store_config,
    whole,
)
from support.polling import eventually
from support.writers import measured, query, running

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]


async def test_the_history_from_the_start_date_is_requested_and_becomes_whole(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    await a_covered_series(engine, (minutes_ago(1000), minutes_ago(1)))
    config_id = await store_config(engine, start_date(9))
    async with collecting(kafka_settings, engine) as collector, running(a_worker()) as worker:
        await eventually(lambda: whole(database_url, first_minute(9), now() - timedelta(minutes=1)), within=60)
        await eventually(lambda: none_open(database_url), within=30)
    first = collector.requests[0]
    assert (first.config_id, first.exchange, first.timeframe) == (config_id, "binance", "1m")
    assert (first.purpose, first.lane, first.attempt) == (Purpose.BACKFILL, "binance", 0)
    assert first.purpose.job_type is JobType.BACKFILL
    assert to_milliseconds(first.span.end) == minutes_ago(1000)
    assert set(await chunks_by_state(database_url)) == {"verified"}
    assert measured(worker, "candlekeep_backfill_requests_total") == len(collector.requests)


async def test_an_earlier_start_date_extends_the_history(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    await a_covered_series(engine, (to_milliseconds(first_minute(1)), minutes_ago(1)))
    config_id = await store_config(engine, start_date(1))
    async with collecting(kafka_settings, engine), running(a_worker()):
        await eventually(lambda: query(database_url, "SELECT 1 FROM series_plans WHERE planned_at IS NOT NULL"))
        assert await chunks_by_state(database_url) == {}
        change = "UPDATE data_collection_configs SET start_date = $2, updated_at = now() WHERE id = $1"
        await query(database_url, change, config_id, start_date(3))
        await eventually(lambda: whole(database_url, first_minute(3), now() - timedelta(minutes=1)), within=60)


async def test_old_holes_are_repaired_and_young_ones_are_left_to_the_live_runs(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    verified = [(3000, 2000), (1990, 100), (90, 10), (5, 1)]
    await a_covered_series(engine, *((minutes_ago(start), minutes_ago(end)) for start, end in verified))
    await store_config(engine)
    async with collecting(kafka_settings, engine) as collector, running(a_worker()):
        end = now() - timedelta(minutes=10)
        await eventually(lambda: whole(database_url, now() - timedelta(minutes=3000), end), within=60)
    assert {each.purpose for each in collector.requests} == {Purpose.REPAIR}
    assert max(to_milliseconds(each.span.end) for each in collector.requests) == minutes_ago(90)
    [(young,)] = await query(database_url, OPEN_MINUTES, end, now() - timedelta(minutes=1))
    assert young == 5


async def test_two_instances_share_the_work_and_keep_the_limits(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    for number in range(6):
        await a_covered_series(engine, (minutes_ago(1000), minutes_ago(1)), symbol=f"C{number}/USDT")
        await store_config(engine, start_date(20), symbol=f"C{number}/USDT")
    limits = {"ranges_per_lane": 3, "fresh_chunks_per_series": 3}
    async with (
        collecting(kafka_settings, engine, seconds=0.05) as collector,
        running(a_worker(**limits)) as one,
        running(a_worker(**limits)) as two,
    ):
        await eventually(lambda: whole(database_url, first_minute(20), now() - timedelta(minutes=1)), within=90)
        [(overlaps,)] = await query(database_url, OVERLAPS)
    assert overlaps == 0
    assert collector.most_running <= 3
    assert collector.repeated_runs() == {}
    shares = [measured(each, "candlekeep_backfill_requests_total") for each in (one, two)]
    assert sum(shares) == len(collector.requests)
    spans = sorted((each.symbol, each.span.start, each.span.end) for each in collector.requests)
    assert all(a[0] != b[0] or a[2] <= b[1] for a, b in pairwise(spans)), "a span was read twice"
