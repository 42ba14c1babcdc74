"""Collects the evidence of a test from the tables, topics, simulated exchanges and scheduler logs."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.candles import CandlesCollected
from contracts.dead_letters import DeadLetter
from contracts.event import Event
from contracts.ticks import TickDue
from contracts.topics import CANDLES, DEAD_LETTERS, TICKS, Topic
from contracts.vocabulary import ErrorClass
from local_stack.stack import Stack
from runtime.kafka.codec import UnreadableMessage, decode
from support.faults.evidence import Candle, DeadLetterEntry, Evidence, Request, Rules, Run, Series, StoredConfig, Tick
from support.faults.history import History, now
from support.faults.scheduler_reports import read_scheduler_reports

_MINUTE_MS = 60_000


async def collect_schedule_evidence(
    stack: Stack, database_url: str, history: History, rules: Rules, *, until: float
) -> Evidence:
    """Collect only the evidence about handled slots. It is cheap enough for a poll every second."""
    connection = await asyncpg.connect(database_url, timeout=5, command_timeout=10)
    try:
        runs = [_run(row) for row in await connection.fetch("SELECT * FROM job_execution_logs")]
        configs = await _configs(connection)
    finally:
        connection.terminate()
    ticks = await read_events(stack.kafka, stack.options.topic_prefix, TICKS)
    return Evidence(
        history=history,
        until=until,
        collected_at=now(),
        rules=rules,
        runs=tuple(runs),
        ticks=tuple(_tick(event) for event in ticks if isinstance(event, TickDue)),
        configs=configs,
        skipped_slots=_skipped_slots(stack.folder.logs.glob("scheduler*.log")),
    )


async def collect_evidence(
    stack: Stack,
    database_url: str,
    history: History,
    rules: Rules,
    *,
    until: float,
    unreadable: Mapping[Any, float | None] | None = None,
    retry_after_by_mood: Mapping[str, float] | None = None,
) -> Evidence:
    """Collect all evidence.

    `unreadable` maps (topic, partition, offset) of each unreadable message of the test to its time, or to None.
    `retry_after_by_mood` gives the seconds of Retry-After by the kind of mood.
    """
    schedule = await collect_schedule_evidence(stack, database_url, history, rules, until=until)
    connection = await asyncpg.connect(database_url, timeout=5, command_timeout=10)
    try:
        candles, fetched_at = await _candles(connection)
    finally:
        connection.terminate()
    prefix = stack.options.topic_prefix
    dead_letters = await read_events(stack.kafka, prefix, DEAD_LETTERS)
    return replace(
        schedule,
        scheduler_reports=await read_scheduler_reports(stack),
        candles=candles,
        fetched_at=fetched_at,
        published=_newest(await read_events(stack.kafka, prefix, CANDLES)),
        truth=await _truth(stack, candles),
        dead_letters=tuple(_dead_letter(event, prefix) for event in dead_letters if isinstance(event, DeadLetter)),
        unreadable=frozenset(unreadable or ()),
        unreadable_sent_at={place: at for place, at in (unreadable or {}).items() if at is not None},
        requests=await _requests(stack, retry_after_by_mood or {}),
    )


async def read_events(kafka: str, prefix: str, topic: Topic) -> list[Event]:
    """Return all readable events that the topic holds now."""
    consumer = AIOKafkaConsumer(  # earliest: its own late lookup of the end offset could override the seek
        bootstrap_servers=kafka.split(","), enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=20
    )
    events: list[Event] = []
    try:
        await consumer.start()
        partitions = [TopicPartition(f"{prefix}{topic.name}", number) for number in range(topic.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning()
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                events += _readable(topic, records)
    finally:
        await consumer.stop()
    return events


def _readable(topic: Topic, records: Iterable[Any]) -> list[Event]:
    events = []
    for record in records:
        if record.value is not None:
            try:
                events.append(decode(topic, record.value))
            except UnreadableMessage:
                continue
    return events


def _run(row: Any) -> Run:
    collected: dict[Series, tuple[int, int]] = {}
    for result in json.loads(row["metadata"]).get("results", ()):
        if result["from"] and result["to"] and not result["error_class"]:
            series = (row["exchange"], row["symbol"], result["timeframe"])
            collected[series] = (_open_ms(result["from"]), _open_ms(result["to"]))
    return Run(
        run_id=str(row["run_id"]),
        config_id=row["config_id"],
        trigger=row["trigger"],
        scheduled_for=row["scheduled_for"].timestamp(),
        status=row["status"],
        started_at=row["started_at"].timestamp(),
        finished_at=None if row["finished_at"] is None else row["finished_at"].timestamp(),
        deadline_at=None if row["deadline_at"] is None else row["deadline_at"].timestamp(),
        error_class=row["error_class"],
        superseded_by=_newer_run(row["error_message"]) if row["error_class"] == ErrorClass.SUPERSEDED else None,
        collected=collected,
    )


def _newer_run(message: str) -> str | None:
    found = re.search(r"until run (\S+) of the same config", message)
    return None if found is None else found[1]


def _tick(event: TickDue) -> Tick:
    return Tick(
        run_id=str(event.run_id),
        config_id=event.config.config_id,
        trigger=event.trigger.value,
        scheduled_for=event.scheduled_for.timestamp(),
        emitted_at=event.occurred_at.timestamp(),
        missed_slots=event.missed_slots,
    )


def _dead_letter(event: DeadLetter, prefix: str) -> DeadLetterEntry:
    return DeadLetterEntry(
        source_topic=event.source_topic.removeprefix(prefix),
        partition=event.source_partition,
        offset=event.source_offset,
        error=event.error,
        attempts=event.attempts,
        at=event.occurred_at.timestamp(),
    )


async def _configs(connection: Any) -> dict[int, StoredConfig]:
    rows = await connection.fetch(
        "SELECT c.id, c.version, c.enabled, c.exchange || '|' || c.symbol AS subject, s.config_version, s.active"
        " FROM data_collection_configs AS c LEFT JOIN scheduled_jobs AS s ON s.config_id = c.id"
    )
    return {
        row["id"]: StoredConfig(
            version=row["version"],
            enabled=row["enabled"],
            subject=row["subject"],
            scheduled_version=row["config_version"],
            scheduled_active=row["active"],
        )
        for row in rows
    }


async def _candles(connection: Any) -> tuple[dict[Series, dict[int, Candle]], dict[Series, dict[int, int]]]:
    candles: dict[Series, dict[int, Candle]] = {}
    fetched: dict[Series, dict[int, int]] = {}
    for row in await connection.fetch(
        "SELECT exchange, symbol, timeframe, open_time, open, high, low, close, volume, fetched_at"
        " FROM candles JOIN series ON series.id = series_id"
    ):
        series: Series = (row["exchange"], row["symbol"], row["timeframe"])
        open_ms = round(row["open_time"].timestamp() * 1000)
        values = (row["open"], row["high"], row["low"], row["close"], row["volume"])
        candles.setdefault(series, {})[open_ms] = values
        fetched.setdefault(series, {})[open_ms] = _micros(row["fetched_at"])
    return candles, fetched


def _newest(events: Iterable[Event]) -> dict[Series, dict[int, int]]:
    newest: dict[Series, dict[int, int]] = {}
    for event in events:
        if isinstance(event, CandlesCollected):
            known = newest.setdefault((event.exchange, event.symbol, event.timeframe), {})
            for row in event.rows:
                known[row[0]] = max(known.get(row[0], 0), _micros(event.fetched_at))
    return newest


async def _truth(stack: Stack, candles: Mapping[Series, Mapping[int, Any]]) -> dict[Series, dict[int, Candle]]:
    truth: dict[Series, dict[int, Candle]] = {}
    async with httpx.AsyncClient(base_url=stack.simulator_url or "", timeout=20) as simulator:
        for series, stored in candles.items():
            exchange, symbol, timeframe = series
            query = {
                "exchange": exchange,
                "symbol": symbol,
                "timeframe": timeframe,
                "start": str(min(stored)),
                "end": str(max(stored) + 10 * _MINUTE_MS),
            }
            response = await simulator.get("/control/truth", params=query)
            truth[series] = {int(opened): (o, h, low, c, v) for opened, o, h, low, c, v in response.json()}
    return truth


async def _requests(stack: Stack, retry_after_by_mood: Mapping[str, float]) -> tuple[Request, ...]:
    async with httpx.AsyncClient(base_url=stack.simulator_url or "", timeout=20) as simulator:
        entries = (await simulator.get("/control/requests")).json()
    return tuple(
        Request(
            at=entry["received_at"] / 1000,
            exchange=entry["exchange"],
            status=entry["status"],
            answered_at=(entry["received_at"] + entry["duration_ms"]) / 1000,
            retry_after=retry_after_by_mood.get(entry["mood"] or ""),
        )
        for entry in entries
    )


def _skipped_slots(logs: Iterable[Path]) -> dict[int, int]:
    skipped: dict[int, int] = {}
    for log in logs:
        for line in log.read_text(errors="replace").splitlines():
            if '"slots_skipped"' in line:
                entry = json.loads(line)
                skipped[entry["config_id"]] = skipped.get(entry["config_id"], 0) + entry["slots"]
    return skipped


def _open_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _micros(instant: datetime) -> int:
    return round((instant - datetime.fromtimestamp(0, UTC)).total_seconds() * 1_000_000)
