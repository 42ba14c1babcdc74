"""Collects the evidence of a test from the tables, topics, simulated exchanges and scheduler logs."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.dead_letters import DeadLetter
from contracts.event import Event
from contracts.spans import union
from contracts.ticks import TickDue
from contracts.topics import CANDLES, DEAD_LETTERS, TICKS, Topic
from contracts.vocabulary import ErrorClass
from local_stack.stack import Stack
from runtime.kafka.codec import UnreadableMessage, decode
from support.faults.collect_series import newest_fetches, published_spans, read_candles, read_ledger, read_truths
from support.faults.evidence import DeadLetterEntry, Evidence, Request, Rules, Run, StoredConfig, Tick
from support.faults.history import History, now
from support.faults.scheduler_reports import read_scheduler_reports


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
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            candles, fetched_at = await read_candles(connection)
            ledger = await read_ledger(connection)
    finally:
        connection.terminate()
    prefix = stack.options.topic_prefix
    dead_letters = await read_events(stack.kafka, prefix, DEAD_LETTERS)
    published = await read_events(stack.kafka, prefix, CANDLES)
    return replace(
        schedule,
        scheduler_reports=await read_scheduler_reports(stack),
        candles=candles,
        fetched_at=fetched_at,
        published=newest_fetches(published),
        published_spans=published_spans(published),
        ledger=ledger,
        truth=await read_truths(stack, candles, ledger),
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
    verified = {
        (row["exchange"], row["symbol"], result["timeframe"]): union(
            (_text_ms(span["start"]), _text_ms(span["end"])) for span in result["verified"]
        )
        for result in json.loads(row["metadata"]).get("results", ())
    }
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
        verified=verified,
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
        "SELECT c.*, c.exchange || '|' || c.symbol AS subject, s.config_version, s.active"
        " FROM data_collection_configs AS c LEFT JOIN scheduled_jobs AS s ON s.config_id = c.id"
    )
    return {
        row["id"]: StoredConfig(
            version=row["version"],
            enabled=row["enabled"],
            subject=row["subject"],
            scheduled_version=row["config_version"],
            scheduled_active=row["active"],
            timeframes=tuple(row["timeframes"]),
            interval_minutes=row["interval_minutes"],
            changed_at=row["updated_at"].timestamp(),
        )
        for row in rows
    }


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


def _text_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
