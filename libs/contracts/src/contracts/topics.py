"""All topics. No topic name is written anywhere else.

A changed number of partitions would move keys to other consumers, so the provisioning command refuses to change it.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from contracts.backfills import BackfillChanged, BackfillProgressed
from contracts.candles import CandlesCollected
from contracts.configs import ConfigChanged, ConfigRemoved
from contracts.dead_letters import DeadLetter
from contracts.event import Event
from contracts.exchanges import ExchangeHealthChanged
from contracts.markets import MarketsListed
from contracts.ranges import RangeDue
from contracts.runs import RunFinished, RunStarted
from contracts.schedule import JobScheduled
from contracts.ticks import TickDue


class Cleanup(StrEnum):
    """How Kafka removes old messages."""

    COMPACT = "compact"
    DELETE = "delete"


@dataclass(frozen=True, kw_only=True)
class Topic:
    """The contract of a topic."""

    name: str
    events: tuple[type[Event], ...]
    key: str
    """The content of the key in words. `Event.key()` computes it."""
    cleanup: Cleanup
    retention: timedelta | None
    """How long Kafka keeps a message. None only for compacted topics, which keep the latest message of each key
    indefinitely.
    """
    partitions: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    tombstones: bool = False
    """Whether a null value is allowed; it means that the key was deleted."""
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
    why="The configs to collect. The scheduler restores its book from here, so the latest state of a config is kept.",
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
    why="The state of each schedule, from which the scheduler restores it. Co-partitioned with config-changes.",
)

TICKS: Final = Topic(
    name="ticks",
    events=(TickDue,),
    key="lane (exchange id, plus #n if the exchange has several lanes)",
    cleanup=Cleanup.DELETE,
    retention=timedelta(days=1),
    partitions=24,
    producers=("scheduler", "admin-api"),
    consumers=("collector",),
    why="Runs that are due. One collector at a time handles a lane, so it owns the rate limit of the exchange.",
)

RANGE_REQUESTS: Final = Topic(
    name="range-requests",
    events=(RangeDue,),
    key="lane (exchange id, plus #n if the exchange has several lanes)",
    cleanup=Cleanup.DELETE,
    retention=timedelta(days=1),
    partitions=24,
    producers=("backfiller",),
    consumers=("collector",),
    why="Spans of history and holes to read. Co-partitioned with ticks: the collector that owns a lane reads both.",
)

BACKFILL_EVENTS: Final = Topic(
    name="backfill-events",
    events=(BackfillChanged, BackfillProgressed),
    key="backfill id",
    cleanup=Cleanup.DELETE,
    retention=timedelta(days=1),
    partitions=3,
    producers=("admin-api", "backfiller"),
    consumers=("admin-api",),
    why="The changes and the progress of each backfill, for the event stream.",
)

RUN_EVENTS: Final = Topic(
    name="run-events",
    events=(RunStarted, RunFinished),
    key="config id",
    cleanup=Cleanup.DELETE,
    retention=timedelta(days=7),
    partitions=12,
    producers=("collector",),
    consumers=("log-writer", "scheduler", "backfiller", "admin-api"),
    why="The start and the end of each run, for the run log, and for the progress of each series in the scheduler.",
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
    why="Closed, validated candles for the table, in order within each series.",
)

EXCHANGE_HEALTH: Final = Topic(
    name="exchange-health",
    events=(ExchangeHealthChanged,),
    key="lane",
    cleanup=Cleanup.COMPACT,
    retention=None,
    partitions=3,
    producers=("collector",),
    consumers=("admin-api", "collector", "backfiller"),
    why="The health of each exchange, as its lanes see it. The event stream shows when a ban begins and ends, and a "
    "collector that starts restores it. The backfiller requests no ranges of a lane that cannot read them.",
)

MARKET_LISTS: Final = Topic(
    name="market-lists",
    events=(MarketsListed,),
    key="exchange|kind of market",
    cleanup=Cleanup.COMPACT,
    retention=None,
    partitions=3,
    producers=("collector",),
    consumers=("log-writer",),
    why="The markets that each exchange lists. log-writer compares each list with the earlier ones: a market can be "
    "new, suspended, renamed, delisted or listed again.",
)

DEAD_LETTERS: Final = Topic(
    name="dead-letters",
    events=(DeadLetter,),
    key="source topic",
    cleanup=Cleanup.DELETE,
    retention=timedelta(days=30),
    partitions=3,
    producers=("scheduler", "collector", "log-writer", "candle-writer", "backfiller"),
    consumers=(),
    why="Messages that a consumer could not read or handle, with the reason. A person can inspect and replay them.",
)

ALL_TOPICS: Final = (
    CONFIG_CHANGES,
    SCHEDULE_STATE,
    TICKS,
    RANGE_REQUESTS,
    BACKFILL_EVENTS,
    RUN_EVENTS,
    CANDLES,
    EXCHANGE_HEALTH,
    MARKET_LISTS,
    DEAD_LETTERS,
)
