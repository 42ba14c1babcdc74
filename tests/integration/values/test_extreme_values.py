"""Values from Kafka that one layer could hold and the next could not: all services on a real Kafka and a real Postgres.

Each field of each event gets extreme values. Afterwards the writers, their periodic tasks, the scheduler and every list
of the API must still do their work, and nothing but the refused messages may be missing.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from candle_writer.app import NAME as CANDLE_WRITER
from candle_writer.app import build_worker as build_candle_writer
from candle_writer.settings import CandleWriterSettings
from contracts.candles import Candle, CandlesCollected
from contracts.configs import ConfigChanged, ConfigRemoved
from contracts.dead_letters import DeadLetter
from contracts.event import Event
from contracts.runs import RunFinished, RunStarted
from contracts.schedule import JobScheduled
from contracts.ticks import TickDue
from contracts.topics import CANDLES, CONFIG_CHANGES, DEAD_LETTERS, RUN_EVENTS, SCHEDULE_STATE, TICKS, Topic
from log_writer.app import NAME as LOG_WRITER
from log_writer.app import build_worker as build_log_writer
from log_writer.settings import LogWriterSettings
from runtime.kafka.codec import UnreadableMessage, decode
from runtime.settings import KafkaSettings
from scheduler.app import NAME as SCHEDULER
from scheduler.app import build_worker as build_scheduler
from scheduler.settings import SchedulerSettings
from support.extreme_values import mutants_of
from support.fetches import a_fetch
from support.kafka import read_topic
from support.polling import eventually
from support.run_histories import a_start, a_state, an_ending
from support.schedules import a_change
from support.writers import everything_is_read, measured, publishing, query, running, worker_settings

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(300)]

NO_LIMITS = {
    "dead_letters_max_share": 1.0,
    "dead_letters_max_consecutive": 10**6,
    "dead_letters_max_consecutive_at_start": 10**6,
}
READS = (
    *("/configs", "/execution-logs", "/execution-logs?sort=started_at", "/stats?hours=720", "/status", "/series"),
    *("/reports/top-symbols", "/reports/exchanges", "/reports/exchanges?hours=720", "/reports/recent-failures"),
)
GOOD = 900_001
"""The id of the config whose events are all valid."""


async def publish_mutants(settings: KafkaSettings, topic: Topic, *kinds: type[Event]) -> int:
    """Publish every mutant that the contract accepts, and every tenth of the others. Returns the number of those."""
    refused = unreadable = 0
    async with publishing(settings) as publisher:
        for number, mutant in enumerate(each for kind in kinds for each in mutants_of(kind, examples=1)):
            try:
                decode(topic, mutant.message)
            except UnreadableMessage:
                unreadable += 1
                if unreadable % 10:
                    continue
                refused += 1
            await publisher.publish_raw(topic, key=str(number % 50 + 1), value=mutant.message, headers={})
    return refused


async def letters(settings: KafkaSettings) -> list[DeadLetter]:
    """One per message: a consumer that lost its partitions handles its last messages again."""
    found = [
        record.event for record in await read_topic(settings, DEAD_LETTERS) if isinstance(record.event, DeadLetter)
    ]
    return list({(each.source_topic, each.source_partition, each.source_offset): each for each in found}.values())


async def assert_all_reads_answer(client: httpx.AsyncClient, database_url: str) -> None:
    rows = await query(database_url, "SELECT exchange, symbol, timeframe FROM series")
    parameters = [{"exchange": row[0], "symbol": row[1], "timeframe": row[2]} for row in rows]
    for path in READS:
        following: str | None = path
        while following is not None:
            answer = await client.get(following)
            assert answer.status_code == 200, f"{following}: {answer.text}"
            following = answer.links.get("next", {}).get("url")
    for path in ("/candles", "/candles/chart", "/coverage", "/rejected-candles"):
        for series in parameters:
            answer = await client.get(path, params=series)
            assert answer.status_code == 200, f"{path} {series}: {answer.text}"


async def test_extreme_values_of_runs_and_schedules_stop_no_write_no_periodic_task_and_no_read(
    kafka_settings: KafkaSettings, database_url: str, client: httpx.AsyncClient
) -> None:
    settings = worker_settings(
        LogWriterSettings,
        kafka_settings,
        database_url,
        lost_run_check_seconds=0.3,
        lost_run_grace_seconds=0,
        **NO_LIMITS,
    )
    refused = await publish_mutants(settings, RUN_EVENTS, RunStarted, RunFinished)
    refused += await publish_mutants(settings, SCHEDULE_STATE, JobScheduled)
    late = a_start(config_id=GOOD, started_at=datetime.now(UTC) - timedelta(hours=1))
    async with running(build_log_writer(settings)) as worker, publishing(settings) as publisher:
        await publisher.publish_many(RUN_EVENTS, [late, an_ending(config_id=GOOD, started_at=datetime.now(UTC))])
        await publisher.publish_many(SCHEDULE_STATE, [a_state(GOOD)])
        await eventually(lambda: everything_is_read(settings, LOG_WRITER, RUN_EVENTS, SCHEDULE_STATE), within=120)
        good = "SELECT status FROM job_execution_logs WHERE config_id = $1 ORDER BY status"
        await eventually(lambda: _equals(database_url, good, [("failed",), ("success",)], GOOD), within=60)
        await eventually(lambda: _equals(database_url, "SELECT count(*) FROM run_changes", [(0,)]), within=60)
        for task in ("lost runs", "counts", "open holes", "retention"):
            assert measured(worker, "candlekeep_log_periodic_task_failures_total", task=task) == 0
        assert worker.health.ready_problems() == {}
    assert await query(database_url, "SELECT count(*) FROM scheduled_jobs WHERE config_id = $1", GOOD) == [(1,)]
    unbelievable = [letter for letter in await letters(settings) if "starts at" in letter.error]
    assert len(await letters(settings)) == refused + len(unbelievable)
    assert unbelievable, "a run of the year 2199 is not believed"
    await assert_all_reads_answer(client, database_url)


async def test_extreme_values_of_candles_stop_no_write_and_no_read(
    kafka_settings: KafkaSettings, database_url: str, client: httpx.AsyncClient
) -> None:
    settings = worker_settings(CandleWriterSettings, kafka_settings, database_url, **NO_LIMITS)
    refused = await publish_mutants(settings, CANDLES, CandlesCollected)
    fetch = a_fetch(symbol="GOOD/USDT", fetched_at=datetime.now(UTC))
    async with running(build_candle_writer(settings)) as worker, publishing(settings) as publisher:
        await publisher.publish(CANDLES, fetch)
        await eventually(lambda: everything_is_read(settings, CANDLE_WRITER, CANDLES), within=120)
        assert worker.health.ready_problems() == {}
    assert await query(database_url, "SELECT count(*) FROM ohlcv WHERE symbol = 'GOOD/USDT'") == [(1,)]
    unbelievable = [letter for letter in await letters(settings) if "more than an hour after" in letter.error]
    assert len(await letters(settings)) == refused + len(unbelievable)
    assert unbelievable, "a fetch of the year 2199 is not believed"
    await assert_all_reads_answer(client, database_url)


async def test_extreme_values_of_configs_states_and_runs_stop_no_other_schedule(
    kafka_settings: KafkaSettings,
) -> None:
    settings = SchedulerSettings(**kafka_settings.model_dump(), http_port=0, **NO_LIMITS)
    await publish_mutants(settings, CONFIG_CHANGES, ConfigChanged, ConfigRemoved)
    await publish_mutants(settings, SCHEDULE_STATE, JobScheduled)
    await publish_mutants(settings, RUN_EVENTS, RunStarted, RunFinished)
    async with running(build_scheduler(settings)) as worker, publishing(settings) as publisher:
        await publisher.publish(
            CONFIG_CHANGES, a_change(config_id=GOOD, symbol="GOOD/USDT", updated_at=datetime.now(UTC))
        )
        await publish_mutants(settings, RUN_EVENTS, RunFinished)

        async def ticked() -> bool:
            ticks = [record.event for record in await read_topic(settings, TICKS)]
            return any(isinstance(tick, TickDue) and tick.config.config_id == GOOD for tick in ticks)

        await eventually(ticked, within=60)
        await eventually(lambda: everything_is_read(settings, SCHEDULER, RUN_EVENTS), within=60)
        assert worker.health.live_problems() == {}
        assert worker.health.ready_problems() == {}


@pytest.mark.parametrize("version", [2**31 - 1, 20_000])
async def test_a_config_with_an_implausible_version_follows_the_next_change_of_the_api(
    version: int, kafka_settings: KafkaSettings
) -> None:
    settings = SchedulerSettings(**kafka_settings.model_dump(), http_port=0)
    now = datetime.now(UTC)
    async with running(build_scheduler(settings)), publishing(settings) as publisher:
        for number, enabled in ((1, True), (version, False), (2, True)):
            changed = a_change(version=number, enabled=enabled, updated_at=now, interval_minutes=number % 7 + 1)
            await publisher.publish(CONFIG_CHANGES, changed)

        async def follows_the_api() -> bool:
            states = [record.event for record in await read_topic(settings, SCHEDULE_STATE)]
            newest = states[-1] if states else None
            return isinstance(newest, JobScheduled) and newest.config_version == 2 and newest.active

        await eventually(follows_the_api, within=40)


async def test_a_fetch_from_the_future_in_the_table_is_replaced_by_the_next_fetch(
    kafka_settings: KafkaSettings, database_url: str
) -> None:
    settings = worker_settings(CandleWriterSettings, kafka_settings, database_url)
    async with running(build_candle_writer(settings)), publishing(settings) as publisher:
        for close in (100.0, 100.5):
            candle = Candle(1_795_348_800_000, 100.0, 101.0, 99.0, close, 1.0)
            await publisher.publish(CANDLES, a_fetch(candle, fetched_at=datetime.now(UTC)))
            await eventually(lambda: everything_is_read(settings, CANDLE_WRITER, CANDLES), within=30)
            assert await query(database_url, "SELECT close FROM candles") == [(close,)]
            await query(database_url, "UPDATE candles SET fetched_at = '9999-12-31'")


async def _equals(database_url: str, sql: str, expected: list[tuple[Any, ...]], *arguments: Any) -> bool:
    found = await query(database_url, sql, *arguments)
    assert found == expected
    return True
