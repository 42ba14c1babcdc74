"""The evidence of a test: its history, and the final content of tables, topics and simulated exchanges.

Times are seconds since the epoch, unless a name ends in `_ms`. The classes hold plain data, so that a test can write
evidence by hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from contracts.spans import Interval, Intervals
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
    superseded_by: str | None = None
    """The run whose tick took this run's place, if the run was superseded."""
    verified: Mapping[Series, Intervals] = field(default_factory=dict)
    """The spans per series that the answers vouch for, as the run log shows them, also if the run failed."""


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
class StoredConfig:
    """A config in the table, and the state that the scheduler reported for it (None: it reported none)."""

    version: int
    enabled: bool
    subject: str
    scheduled_version: int | None
    scheduled_active: bool | None
    timeframes: tuple[str, ...] = ("1m",)
    interval_minutes: int = 1
    changed_at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class AbsentSpan:
    """A row of the table `absences`."""

    span: Interval
    absence_class: str
    first_seen: float
    last_checked: float


@dataclass(frozen=True, kw_only=True)
class SeriesLedger:
    """The rows of one series in the tables `coverage`, `absences` and `rejected_candles`."""

    verified: Intervals = ()
    absences: tuple[AbsentSpan, ...] = ()
    rejected: frozenset[int] = frozenset()
    """The open times of the rejected rows, in milliseconds."""


@dataclass(frozen=True, kw_only=True)
class SeriesTruth:
    """The truth of the simulated exchange about closed candles, by open time in milliseconds."""

    candles: Mapping[int, Candle] = field(default_factory=dict)
    """All candles that exist."""
    offered: frozenset[int] = frozenset()
    """Those that the exchange would send now in reply to the right requests."""
    impossible: frozenset[int] = frozenset()
    """Those for which it always sends an impossible row now."""
    impossible_shown: frozenset[int] = frozenset()
    """Those for which it has sent an impossible row."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request to an exchange, with its response. `status` is None if the exchange sent no response."""

    at: float
    exchange: str
    status: int | None
    answered_at: float
    retry_after: float | None = None
    """Seconds; only if the exchange refused the request."""


@dataclass(frozen=True, kw_only=True)
class DeadLetterEntry:
    """A message of the topic `dead-letters`."""

    source_topic: str
    partition: int
    offset: int
    error: str = ""
    attempts: int = 1
    at: float = 0.0
    """When the consumer stored it as a dead letter."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The settings of the system that the checker needs, and the tolerances of the checker. Times are in seconds."""

    spread_ms: int
    stuck_after: float = 60.0
    """A run that is still running so long after its deadline is stuck."""
    change_grace: float = 10.0
    """After a scheduler has reported a change, it may use the older version for this long."""
    on_time_from: float | None = None
    """Slots from this time on must be handled on time, because all faults have ended long before."""
    late_after: float = 10.0
    """Generous, because the machine may be busy. On an idle machine a tenth of a second is enough."""
    dead_letter_within: float = 5.0
    """An unreadable message must become a dead letter within this time, even if exchanges have faults."""
    recovery_seconds: float = 60.0
    """After a fault, delays within this time are allowed."""
    max_per_second: Mapping[str, int] = field(default_factory=dict)
    """The maximum number of requests per second, by exchange."""
    healthy_since: float | None = None
    """From this time on, the exchanges send all that they offer. None: it is not checked if this is collected."""
    collected_within: float = 30.0
    """The tolerance for a run that is due at this time, its requests and the writing of its candles."""
    in_flight_seconds: float = 0.1
    """A request that was sent before the refusal arrived may reach the exchange within this time."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    history: History
    until: float
    """Slots up to this time are checked. The test has waited for their runs."""
    collected_at: float
    rules: Rules
    runs: tuple[Run, ...] = ()
    ticks: tuple[Tick, ...] = ()
    configs: Mapping[int, StoredConfig] = field(default_factory=dict)
    skipped_slots: Mapping[int, int] = field(default_factory=dict)
    """By config: the number of slots that the scheduler reported as skipped, because the schedule changed."""
    scheduler_reports: Mapping[int, Sequence[tuple[float, float]]] | None = None
    """By config: (time, version) of each report of a scheduler; infinity is a deleted config.

    None: schedulers receive every change at once.
    """
    candles: Mapping[Series, Mapping[int, Candle]] = field(default_factory=dict)
    fetched_at: Mapping[Series, Mapping[int, int]] = field(default_factory=dict)
    """The stored values, in microseconds since the epoch."""
    published: Mapping[Series, Mapping[int, int]] = field(default_factory=dict)
    """The newest `fetched_at` of each candle in the topic, in microseconds since the epoch."""
    published_spans: Mapping[Series, Intervals] = field(default_factory=dict)
    """The spans that the messages of the topic `candles` call verified, including the slot of each candle."""
    ledger: Mapping[Series, SeriesLedger] = field(default_factory=dict)
    truth: Mapping[Series, SeriesTruth] = field(default_factory=dict)
    dead_letters: tuple[DeadLetterEntry, ...] = ()
    unreadable: frozenset[tuple[str, int, int]] = frozenset()
    """(topic, partition, offset) of unreadable messages. Exactly these must become dead letters."""
    unreadable_sent_at: Mapping[tuple[str, int, int], float] = field(default_factory=dict)
    """When these messages were sent, if that is known."""
    requests: tuple[Request, ...] = ()
