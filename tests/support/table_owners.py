"""An owner of co-partitioned tables that records its calls, and messages for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from contracts.configs import ConfigChanged
from contracts.event import Event
from contracts.runs import RunStarted
from contracts.schedule import JobScheduled
from contracts.topics import CONFIG_CHANGES, RUN_EVENTS, SCHEDULE_STATE, Topic
from contracts.vocabulary import Trigger
from runtime.consumers.tables import CoPartitionedTables
from runtime.settings import KafkaSettings
from support.consuming import NOON, Equipment, a_config, committed

ALL = set(range(12))


@dataclass
class RecordingOwner:
    """An owner that records its calls and stores the configs of each partition."""

    owner: dict[int, dict[str, Event]] = field(default_factory=dict)
    states: dict[str, Event] = field(default_factory=dict)
    runs: list[Event] = field(default_factory=list)
    read: int = 0
    live: set[int] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    read_before_live: list[Event] = field(default_factory=list)
    may_commit: bool = True
    """The result of `on_revoked`."""
    not_published: set[int] = field(default_factory=set)
    """The result of `unpublished`."""

    def on_record(self, partition: int, topic: Topic, key: str, event: Event | None) -> None:
        self.read += 1
        if event is not None and partition not in self.live:
            self.read_before_live.append(event)
        if topic is RUN_EVENTS and event is not None:
            self.runs.append(event)
        elif topic is SCHEDULE_STATE and event is not None:
            self.states[key] = event
        elif topic is CONFIG_CHANGES:
            state = self.owner.setdefault(partition, {})
            if event is None:
                state.pop(key, None)
            else:
                state[key] = event

    def unpublished(self) -> set[int]:
        return self.not_published

    def on_live(self, partition: int) -> None:
        self.live.add(partition)
        self.owner.setdefault(partition, {})

    async def on_revoked(self, partitions: set[int]) -> bool:
        self.live -= partitions
        self.calls.append(f"revoked {len(partitions)}")
        return self.may_commit

    def on_dropped(self, partitions: set[int]) -> None:
        for partition in partitions:
            self.owner.pop(partition, None)
        self.calls.append(f"dropped {len(partitions)}")

    def configs(self) -> set[str]:
        return {key for state in self.owner.values() for key in state}


def tables_of(settings: KafkaSettings, equipment: Equipment, owner: RecordingOwner) -> CoPartitionedTables:
    return CoPartitionedTables(
        settings,
        group="scheduler",
        tables=(CONFIG_CHANGES, SCHEDULE_STATE),
        live=(RUN_EVENTS,),
        owner=owner,
        dead_letters=equipment.dead_letters,
        metrics=equipment.metrics,
    )


@asynccontextmanager
async def running(tables: CoPartitionedTables) -> AsyncIterator[CoPartitionedTables]:
    task = asyncio.create_task(tables.run())
    try:
        yield tables
    finally:
        await tables.stop()
        await task


def changes(numbers: range) -> list[ConfigChanged]:
    return [ConfigChanged(occurred_at=NOON, config=a_config(number)) for number in numbers]


def a_state(number: int) -> JobScheduled:
    return JobScheduled(
        occurred_at=NOON,
        config_id=number,
        config_version=1,
        exchange="binance",
        symbol="BTC/USDT",
        timeframes=("1m",),
        interval_minutes=5,
        active=True,
        last_slot=NOON,
        next_fire_at=NOON,
    )


def a_run_start(number: int) -> RunStarted:
    return RunStarted(
        occurred_at=NOON,
        run_id="00000000-0000-0000-0000-000000000001",
        config_id=number,
        exchange="binance",
        symbol="BTC/USDT",
        timeframes=("1m",),
        trigger=Trigger.SCHEDULED,
        scheduled_for=NOON,
        started_at=NOON,
        deadline_at=NOON,
        collector="c",
    )


async def committed_runs(settings: KafkaSettings, expected: set[int]) -> bool:
    stored = await committed(settings, "scheduler", RUN_EVENTS)
    assert {offset for offset, _ in stored.values()} == expected
    return True
