"""A run that has started, because of a tick or a range request."""

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from contracts.coverage import PendingSpan, SeriesProgress
from contracts.ranges import Purpose, RangeDue
from contracts.ticks import TickDue
from contracts.vocabulary import JobType, Timeframes, Trigger

Due = TickDue | RangeDue


@dataclass(frozen=True)
class Run:
    """A tick or a range request whose run has started."""

    due: Due
    started_at: datetime
    started_monotonic: float = field(default_factory=time.monotonic)
    """The start of the run in seconds of the monotonic clock."""

    @property
    def is_range(self) -> bool:
        return isinstance(self.due, RangeDue)

    @property
    def is_from_trades(self) -> bool:
        return isinstance(self.due, RangeDue) and self.due.purpose is Purpose.TRADES

    @property
    def is_for_evidence(self) -> bool:
        return isinstance(self.due, RangeDue) and self.due.purpose is Purpose.EVIDENCE

    @property
    def verified_from(self) -> datetime | None:
        """The first verified instant of the series of a range. None if it is not known."""
        return self.due.verified_from if isinstance(self.due, RangeDue) else None

    @property
    def config_id(self) -> int:
        return config_id_of(self.due)

    @property
    def exchange(self) -> str:
        return market_of(self.due)[0]

    @property
    def symbol(self) -> str:
        return market_of(self.due)[1]

    @property
    def timeframes(self) -> Timeframes:
        return (self.due.timeframe,) if isinstance(self.due, RangeDue) else self.due.config.timeframes

    @property
    def job_type(self) -> JobType:
        return self.due.purpose.job_type if isinstance(self.due, RangeDue) else JobType.DATA_COLLECTION

    @property
    def trigger(self) -> Trigger:
        return Trigger.RANGE if isinstance(self.due, RangeDue) else self.due.trigger

    @property
    def scheduled_for(self) -> datetime:
        """The slot. For a run without a slot: the time of the request."""
        return self.due.requested_at if isinstance(self.due, RangeDue) else self.due.scheduled_for

    @property
    def deadline_at(self) -> datetime:
        return self.started_at + timedelta(seconds=self.due.deadline_seconds)

    def progress_of(self, timeframe: str) -> SeriesProgress:
        """The time to read: from an anchor on, or the span of a range."""
        if isinstance(self.due, TickDue):
            return self.due.progress_of(timeframe)
        span, attempts = self.due.span, self.due.attempt
        pending = PendingSpan(start=span.start, end=span.end, attempts=attempts)
        return SeriesProgress(timeframe=timeframe, pending=(pending,))


def config_id_of(due: Due) -> int:
    return due.config_id if isinstance(due, RangeDue) else due.config.config_id


def market_of(due: Due) -> tuple[str, str]:
    """The exchange and the symbol."""
    return (due.exchange, due.symbol) if isinstance(due, RangeDue) else (due.config.exchange, due.config.symbol)
