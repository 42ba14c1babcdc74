"""The announced progress of backfills."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from backfiller.app import build_worker
from backfiller.settings import BackfillerSettings
from contracts.backfills import BackfillProgressed
from contracts.coverage import to_milliseconds
from contracts.topics import BACKFILL_EVENTS
from contracts.vocabulary import ErrorClass
from runtime.process.worker import Worker
from runtime.settings import KafkaSettings
from support.backfilling.collector import Answer, collecting
from support.backfilling.tables import store_backfill, store_config
from support.kafka import recording
from support.polling import eventually
from support.stored_ledgers import MINUTE, AbsentSpan, store_ledger, store_series
from support.writers import query, running, worker_settings

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]

MINUTES = 60_000
"""The range of the backfill: 61 pages of Binance."""


async def test_progress_is_announced_once_a_second_until_the_backfill_is_whole(
    kafka_settings: KafkaSettings, database_url: str, login_url: Callable[[str], str], engine: AsyncEngine
) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    series_id = await store_series(engine)
    await store_ledger(engine, series_id, [(to_milliseconds(now) - 100 * MINUTE, to_milliseconds(now))])
    config_id = await store_config(engine)

    def a_worker() -> Worker:
        values = {"turn_seconds": 0.05, "ledger_wait_seconds": 0.5, "chunk_pages": 1}
        return build_worker(worker_settings(BackfillerSettings, kafka_settings, login_url("backfiller"), **values))

    async with (
        recording(kafka_settings, BACKFILL_EVENTS) as recorder,
        collecting(kafka_settings, engine, seconds=0.5),
        running(a_worker()),
        running(a_worker()),
    ):
        start = now - timedelta(minutes=MINUTES)
        backfill_id = await store_backfill(engine, start, now, config_id=config_id)
        last = await recorder.await_event(BackfillProgressed, lambda event: event.is_whole, within=60)
        await eventually(lambda: _is_marked(database_url))
    found = recorder.events(BackfillProgressed)
    assert {each.backfill_id for each in found} == {backfill_id}
    assert found[-1] == last
    assert (last.candles, last.missing_candles, last.waiting, last.failed) == (MINUTES, 0, 0, 0)
    missing = [each.missing_candles for each in found]
    assert len(set(missing)) >= 3
    assert missing == sorted(missing, reverse=True)
    assert all(later.occurred_at - earlier.occurred_at >= timedelta(seconds=1) for earlier, later in pairwise(found))


async def test_time_to_build_from_trades_is_missing_although_the_exchange_lost_its_candles(
    kafka_settings: KafkaSettings, login_url: Callable[[str], str], engine: AsyncEngine
) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    names: dict[str, Any] = {"exchange": "kraken", "symbol": "BTC/USD", "timeframe": "1m"}
    series_id = await store_series(engine, **names)

    def ago(minutes: int) -> int:
        return to_milliseconds(now) - minutes * MINUTE

    lost = [AbsentSpan(ago(3000), ago(730), "beyond_horizon")]
    await store_ledger(engine, series_id, [(ago(730), ago(1))], lost)
    config_id = await store_config(engine, **names)
    await store_backfill(engine, now - timedelta(minutes=2000), now, source="trades", config_id=config_id, **names)
    settings = worker_settings(BackfillerSettings, kafka_settings, login_url("backfiller"), turn_seconds=0.05)
    refused = Answer(error=ErrorClass.UNPROVEN_TRADES)
    async with (
        recording(kafka_settings, BACKFILL_EVENTS) as recorder,
        collecting(kafka_settings, engine, lambda _: refused),
        running(build_worker(settings)),
    ):
        await recorder.await_event(BackfillProgressed, lambda event: event.failed > 0, within=60)
    found = recorder.events(BackfillProgressed)
    assert {(each.is_whole, each.missing_candles) for each in found} == {(False, 1270)}


async def _is_marked(database_url: str) -> bool:
    return await query(database_url, "SELECT missing_candles, is_whole FROM backfill_progress") == [(0, True)]
