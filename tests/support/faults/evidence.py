"""All that a checker judges by: the history, and what tables, topics and the simulated exchanges hold in the end.

Times are seconds since the epoch, unless a name ends in `_ms`. Nothing here asks anybody: it can be written by hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from support.faults.history import History

Series = tuple[str, str, str]
"""(exchange, symbol, timeframe)"""
Candle = tuple[float, float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A row of job_execution_logs."""

    run_id: str
    config_id: int
    trigger: str
    scheduled_for: float
    status: str
    started_at: float
    finished_at: float | None
    deadline_at: float | None
    error_class: str | None = None
    read: Mapping[Series, tuple[int, int]] = field(default_factory=dict)
    """Of a success: first and last open_ms that it collected, by series."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A message of the topic `ticks`."""

    run_id: str
    config_id: int
    trigger: str
    scheduled_for: float
    emitted_at: float
    missed_slots: int = 0


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A config as the table has it, and as the scheduler said it stands (None: it said nothing)."""

    version: int
    enabled: bool
    subject: str
    scheduled_version: int | None
    scheduled_active: bool | None


@dataclass(frozen=True, kw_only=True)
class Request:
    """What an exchange was asked, and how it answered."""

    at: float
    exchange: str
    status: int | None
    answered_at: float
    retry_after: float | None = None
    """Seconds, of a refusal."""


@dataclass(frozen=True, kw_only=True)
class Letter:
    source_topic: str
    partition: int
    offset: int
    error: str = ""
    attempts: int = 1
    at: float = 0.0
    """When it was put aside."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the system was told, and how patient the checker is."""

    spread_ms: int
    lost_after: float = 60.0
    """Deadline plus so much: nothing runs any more."""
    heard_within: float = 10.0
    """Seconds from when a scheduler says that it has heard of a change until nothing follows the older version."""
    on_time_from: float | None = None
    """Slots from here on are dealt with on time: every fault has ended long ago."""
    late_after: float = 10.0
    """Seconds. Generous, for machines that do other things too; a quiet one needs a tenth of a second."""
    letter_within: float = 5.0
    """Seconds in which poison is put aside, whatever exchanges do."""
    heals_within: float = 60.0
    """Seconds after a fault in which nobody need be on time."""
    most_per_second: Mapping[str, int] = field(default_factory=dict)
    """By exchange."""
    in_flight: float = 0.1
    """A request that was on its way when the refusal was answered arrives within so much."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    history: History
    until: float
    """Slots up to here are judged; whoever collected the evidence waited for their runs."""
    collected_at: float
    rules: Rules
    runs: tuple[Run, ...] = ()
    ticks: tuple[Tick, ...] = ()
    configs: Mapping[int, Stored] = field(default_factory=dict)
    skipped_slots: Mapping[int, int] = field(default_factory=dict)
    """By config: slots that the scheduler has said will not get a tick, because the schedule changed."""
    heard: Mapping[int, Sequence[tuple[float, float]]] | None = None
    """By config: when a scheduler said which version it holds, infinity for a deleted one. None: it heard at once."""
    candles: Mapping[Series, Mapping[int, Candle]] = field(default_factory=dict)
    fetched_at: Mapping[Series, Mapping[int, int]] = field(default_factory=dict)
    """As stored, in microseconds since the epoch."""
    published: Mapping[Series, Mapping[int, int]] = field(default_factory=dict)
    """The newest `fetched_at` of each candle in the topic, in microseconds since the epoch."""
    truth: Mapping[Series, Mapping[int, Candle]] = field(default_factory=dict)
    letters: tuple[Letter, ...] = ()
    poison: frozenset[tuple[str, int, int]] = frozenset()
    """(topic, partition, offset) of what nobody can read: exactly these belong in the dead letters."""
    poisoned_at: Mapping[tuple[str, int, int], float] = field(default_factory=dict)
    """When these were sent, where that is known."""
    requests: tuple[Request, ...] = ()
