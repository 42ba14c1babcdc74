"""No chunk is lost when a backfiller is killed, a collector dies, an exchange is sick or the database is away."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.exchanges import ExchangeHealthChanged
from contracts.ranges import RangeDue
from contracts.topics import EXCHANGE_HEALTH
from contracts.vocabulary import ErrorClass, ExchangeState
from local_stack.keeper import KeptPostgres
from runtime.process.worker import Worker
from runtime.settings import KafkaSettings
from support.backfilling.collector import Answer, collecting, everything
from support.backfilling.current_minute import first_minute, minutes_ago, now, start_date
from support.backfilling.tables import (
    a_covered_series,
    chunks,
    none_open,
    store_config,
    whole,
)
from support.polling import eventually
from support.writers import database_away, publish, query, running

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]


async def test_a_dead_collectors_chunk_is_requested_again(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    await a_covered_series(engine, (minutes_ago(900), minutes_ago(200)), (minutes_ago(100), minutes_ago(1)))
    await store_config(engine)

    def first_dies(request: RangeDue) -> Answer:
        return Answer(silent=True) if request.attempt == 0 else everything(request)

    quick = {"run_deadline_seconds": 1, "range_grace_seconds": 0}
    async with collecting(kafka_settings, engine, first_dies) as collector, running(a_worker(**quick)):
        await eventually(lambda: none_open(database_url), within=60)
    assert [each.attempt for each in collector.requests] == [0, 1]


async def test_a_sick_exchange_waits_without_attempts_and_others_go_on(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    def health(state: ExchangeState, until: datetime | None) -> ExchangeHealthChanged:
        return ExchangeHealthChanged(
            occurred_at=datetime.now(UTC),
            exchange="binance",
            lane="binance",
            state=state,
            until=until,
            error_class=None if until is None else ErrorClass.BANNED,
            reason=None if until is None else "HTTP 418",
            collector="scripted",
        )

    banned = health(ExchangeState.BANNED, datetime.now(UTC) + timedelta(hours=1))
    async with collecting(kafka_settings, engine) as collector, running(a_worker()):
        await publish(kafka_settings, EXCHANGE_HEALTH, [banned])
        await eventually(lambda: query(database_url, "SELECT 1 FROM lane_pauses WHERE paused_until > now()"))
        for exchange in ("binance", "bybit"):
            spans = ((minutes_ago(900), minutes_ago(200)), (minutes_ago(100), minutes_ago(1)))
            await a_covered_series(engine, *spans, exchange=exchange)
            await store_config(engine, exchange=exchange)
        await eventually(lambda: chunks(database_url, "id", "exchange = 'bybit' AND state = 'verified'"), within=30)
        assert await chunks(database_url, "state, attempts", "exchange = 'binance'") == [("waiting", 0)]
        assert {each.exchange for each in collector.requests} == {"bybit"}
        await publish(kafka_settings, EXCHANGE_HEALTH, [health(ExchangeState.OK, None)])
        await eventually(lambda: none_open(database_url), within=30)


@pytest.mark.parametrize("failpoint", ["backfiller.before_ranges", "backfiller.after_close"])
async def test_a_killed_backfiller_loses_no_chunk(
    kafka_settings: KafkaSettings,
    database_url: str,
    login_url: Callable[[str], str],
    engine: AsyncEngine,
    a_worker: Callable[..., Worker],
    failpoint: str,
) -> None:
    await a_covered_series(engine, (minutes_ago(1000), minutes_ago(1)))
    await store_config(engine, start_date(9))
    async with collecting(kafka_settings, engine) as collector:
        await _run_until_killed(kafka_settings, login_url("backfiller"), failpoint)
        async with running(a_worker(claim_seconds=0.5)):
            await _until_whole(database_url)
    assert {each.attempt for each in collector.requests} == {0}


async def test_the_requests_of_a_killed_backfiller_are_published_again_as_the_same_runs(
    kafka_settings: KafkaSettings,
    database_url: str,
    login_url: Callable[[str], str],
    engine: AsyncEngine,
    a_worker: Callable[..., Worker],
) -> None:
    await a_covered_series(engine, (minutes_ago(1000), minutes_ago(1)))
    await store_config(engine, start_date(9))
    await _run_until_killed(kafka_settings, login_url("backfiller"), "backfiller.after_ranges")
    assert not await chunks(database_url, "id", "state = 'requested'")
    async with running(a_worker(claim_seconds=0.5)):
        await eventually(lambda: chunks(database_url, "id", "state = 'requested'"), within=60)
        async with collecting(kafka_settings, engine) as collector:
            await _until_whole(database_url)
    assert {each.attempt for each in collector.requests} == {0}
    assert collector.repeated_runs(), "the requests of the killed process were not published again"


async def _run_until_killed(kafka: KafkaSettings, database_url: str, failpoint: str) -> None:
    """Run a backfiller that kills itself at the failpoint."""
    process = _a_process(kafka, database_url, failpoint)
    try:
        await eventually(lambda: process.poll() is not None, within=60)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGKILL


async def _until_whole(database_url: str) -> None:
    await eventually(lambda: whole(database_url, first_minute(9), now() - timedelta(minutes=1)), within=60)
    await eventually(lambda: none_open(database_url), within=60)


def _a_process(kafka: KafkaSettings, database_url: str, failpoint: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.kafka_bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": kafka.kafka_topic_prefix,
        "KAFKA_SESSION_TIMEOUT_MS": str(kafka.kafka_session_timeout_ms),
        "DATABASE_URL": database_url,
        "HTTP_PORT": "0",
        "CLAIM_SECONDS": "0.5",
        "FAILPOINTS": f"{failpoint}=kill",
    }
    return subprocess.Popen([sys.executable, "-m", "backfiller"], env=environment)


async def test_it_waits_for_the_database_and_continues(
    kafka_settings: KafkaSettings,
    postgres: KeptPostgres,
    database_url: str,
    engine: AsyncEngine,
    a_worker: Callable[..., Worker],
) -> None:
    await a_covered_series(engine, (minutes_ago(1000), minutes_ago(1)))
    async with running(a_worker()) as worker:
        async with database_away(postgres.url, database_url):
            await eventually(lambda: "backfill loop" in worker.health.ready_problems(), within=30)
            assert worker.health.live_problems() == {}
        await eventually(lambda: not worker.health.ready_problems(), within=30)
        await store_config(engine, start_date(3))
        async with collecting(kafka_settings, engine):
            await eventually(lambda: whole(database_url, first_minute(3), now() - timedelta(minutes=1)), within=60)
