"""What a live event is, and which topics they come from."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from contracts.configs import ConfigChanged, ConfigRemoved
from contracts.event import Event
from contracts.exchanges import ExchangeHealthChanged
from contracts.runs import RunFinished, RunStarted
from contracts.schedule import JobScheduled
from contracts.topics import CONFIG_CHANGES, EXCHANGE_HEALTH, RUN_EVENTS, SCHEDULE_STATE, Topic

LIVE_TOPICS: Final = (RUN_EVENTS, CONFIG_CHANGES, SCHEDULE_STATE, EXCHANGE_HEALTH)

Place = tuple[str, int]
"""A topic's name, without the prefix of this system, and a partition."""

PLACES: Final[tuple[Place, ...]] = tuple(
    (topic.name, partition) for topic in LIVE_TOPICS for partition in range(topic.partitions)
)
TOPICS: Final[dict[str, Topic]] = {topic.name: topic for topic in LIVE_TOPICS}


class Kind(StrEnum):
    """The name of a server-sent event."""

    RUN = "run"
    CONFIG = "config"
    JOB = "job"
    EXCHANGE = "exchange"


@dataclass(frozen=True, slots=True)
class StreamedEvent:
    """One message of one of the topics."""

    place: Place
    offset: int
    kind: Kind
    timestamp_ms: int
    """Of the message in Kafka."""
    data: str
    """The event as it was published, JSON."""
    exchange: str | None
    """None where the event does not say: a removed config's."""
    config_id: int | None
    """None for events of exchanges."""


def streamed_event(event: Event, data: str, place: Place, offset: int, timestamp_ms: int) -> StreamedEvent:
    """`data` is the text that `event` was read from."""
    kind, exchange, config_id = _about(event)
    return StreamedEvent(
        place=place,
        offset=offset,
        kind=kind,
        timestamp_ms=timestamp_ms,
        data=data,
        exchange=exchange,
        config_id=config_id,
    )


def _about(event: Event) -> tuple[Kind, str | None, int | None]:
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
        case _:
            raise TypeError(f"{type(event).__name__} is not in a live topic")
