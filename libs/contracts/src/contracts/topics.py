"""Every topic, declared once and in full. No topic's name is written anywhere else.

Partition counts are part of the sharding: changing one moves keys to other owners, so provisioning refuses to.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from contracts.candles import CandlesCollected
from contracts.configs import ConfigChanged, ConfigRemoved
from contracts.dead_letters import DeadLetter
from contracts.event import Event
from contracts.exchanges import ExchangeHealthChanged
from contracts.runs import RunFinished, RunStarted
from contracts.schedule import JobScheduled
from contracts.ticks import TickDue


class Cleanup(StrEnum):
    """What Kafka does with old messages."""

    COMPACT = "compact"
    DELETE = "delete"


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic's whole contract."""

    name: str
    events: tuple[type[Event], ...]
    key: str
    """What the key holds, in words; `Event.key()` makes it."""
    cleanup: Cleanup
    retention: timedelta | None
    """None exactly for compacted topics: they keep the latest message per key for ever."""
    partitions: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    tombstones: bool = False
    """Whether a null value is part of the contract."""
    why: str


CONFIG_CHANGES: Final = Topic(
    name="config-changes",
    events=(ConfigChanged, ConfigRemoved),
    key="config id",
    cleanup=Cleanup.COMPACT,
    retention=None,
    partitions=12,
    producers=("admin-api",),
    consumers=("scheduler", "admin-api"),
    tombstones=True,
    why="What to collect. The scheduler restores its book from here, so the newest state of every config stays.",
)

SCHEDULE_STATE: Final = Topic(
    name="schedule-state",
    events=(JobScheduled,),
    key="config id",
    cleanup=Cleanup.COMPACT,
    retention=None,
    partitions=12,
    producers=("scheduler",),
    consumers=("scheduler", "log-writer", "admin-api"),
    tombstones=True,
    why="Where each schedule stands: the scheduler's memory. Co-partitioned with config-changes.",
)

TICKS: Final = Topic(
    name="ticks",
    events=(TickDue,),
    key="lane (exchange id, plus #n where an exchange has several lanes)",
    cleanup=Cleanup.DELETE,
    retention=timedelta(days=1),
    partitions=24,
    producers=("scheduler", "admin-api"),
    consumers=("collector",),
    why="What is due now. A lane belongs to one collector at a time, which therefore owns the exchange's rate budget.",
)

RUN_EVENTS: Final = Topic(
    name="run-events",
    events=(RunStarted, RunFinished),
    key="config id",
    cleanup=Cleanup.DELETE,
    retention=timedelta(days=7),
    partitions=12,
    producers=("collector",),
    consumers=("log-writer", "scheduler", "admin-api"),
    why="What became of each run: the run log, and the scheduler's knowledge of how far a config is covered.",
)

CANDLES: Final = Topic(
    name="candles",
    events=(CandlesCollected,),
    key="exchange|symbol|timeframe",
    cleanup=Cleanup.DELETE,
    retention=timedelta(days=3),
    partitions=12,
    producers=("collector",),
    consumers=("candle-writer",),
    why="Closed, validated candles on their way to the table; per series in order.",
)

EXCHANGE_HEALTH: Final = Topic(
    name="exchange-health",
    events=(ExchangeHealthChanged,),
    key="exchange id",
    cleanup=Cleanup.COMPACT,
    retention=None,
    partitions=3,
    producers=("collector",),
    consumers=("admin-api", "collector"),
    why="How each exchange fares: people see a ban begin and end, and a collector that starts keeps it.",
)

DEAD_LETTERS: Final = Topic(
    name="dead-letters",
    events=(DeadLetter,),
    key="source topic",
    cleanup=Cleanup.DELETE,
    retention=timedelta(days=30),
    partitions=3,
    producers=("scheduler", "collector", "log-writer", "candle-writer"),
    consumers=(),
    why="Messages that nobody could read or store, with the reason, kept for a person to look at and replay.",
)

ALL_TOPICS: Final = (CONFIG_CHANGES, SCHEDULE_STATE, TICKS, RUN_EVENTS, CANDLES, EXCHANGE_HEALTH, DEAD_LETTERS)
