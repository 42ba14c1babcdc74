"""The event of an event stream, and the topics from which events are read."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from contracts.backfills import BackfillChanged, BackfillProgressed
from contracts.configs import ConfigChanged, ConfigRemoved
from contracts.event import Event
from contracts.exchanges import ExchangeHealthChanged
from contracts.runs import RunFinished, RunStarted
from contracts.schedule import JobScheduled
from contracts.topics import BACKFILL_EVENTS, CONFIG_CHANGES, EXCHANGE_HEALTH, RUN_EVENTS, SCHEDULE_STATE, Topic

STREAMED_TOPICS: Final = (RUN_EVENTS, CONFIG_CHANGES, SCHEDULE_STATE, EXCHANGE_HEALTH, BACKFILL_EVENTS)

Partition = tuple[str, int]
"""The name of a topic, without the topic prefix, and the number of a partition."""

PARTITIONS: Final[tuple[Partition, ...]] = tuple(
    (topic.name, partition) for topic in STREAMED_TOPICS for partition in range(topic.partitions)
)
TOPICS: Final[dict[str, Topic]] = {topic.name: topic for topic in STREAMED_TOPICS}


class Kind(StrEnum):
    """The name of a server-sent event."""

    RUN = "run"
    CONFIG = "config"
    JOB = "job"
    EXCHANGE = "exchange"
    BACKFILL = "backfill"


@dataclass(frozen=True, slots=True)
class StreamedEvent:
    """One event from one of the streamed topics."""

    partition: Partition
    offset: int
    kind: Kind
    timestamp_ms: int
    """The timestamp of the Kafka message, in milliseconds since the epoch."""
    data: str
    """The published event, as JSON."""
    exchange: str | None
    """The exchange. None if the event does not contain it, as the event of a removed config or of a backfill."""
    config_id: int | None
    """The config. None for events of exchanges and backfills."""


def streamed_event(event: Event, data: str, partition: Partition, offset: int, timestamp_ms: int) -> StreamedEvent:
    """`data` is the JSON text from which `event` was decoded."""
    kind, exchange, config_id = _attributes(event)
    return StreamedEvent(
        partition=partition,
        offset=offset,
        kind=kind,
        timestamp_ms=timestamp_ms,
        data=data,
        exchange=exchange,
        config_id=config_id,
    )


def _attributes(event: Event) -> tuple[Kind, str | None, int | None]:
    match event:
        case RunStarted() | RunFinished():
            return Kind.RUN, event.exchange, event.config_id
        case ConfigChanged():
            return Kind.CONFIG, event.config.exchange, event.config.config_id
        case ConfigRemoved():
            return Kind.CONFIG, None, event.config_id
        case JobScheduled():
            return Kind.JOB, event.exchange, event.config_id
        case ExchangeHealthChanged():
            return Kind.EXCHANGE, event.exchange, None
        case BackfillChanged() | BackfillProgressed():
            return Kind.BACKFILL, None, None
        case _:
            raise TypeError(f"{type(event).__name__} is not an event of a streamed topic")
