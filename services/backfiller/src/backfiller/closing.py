"""Decides the next state of a chunk whose run has ended, or has not ended in time. Pure.

A chunk ends when the ledger has its whole span as verified or with a final class. The event of a run does not decide
this. The result of a run only says why a part of the span is left, and whether another attempt makes sense.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from backfiller.chunks import Chunk, ChunkState
from contracts import spans
from contracts.coverage import to_instant
from contracts.ranges import Purpose
from contracts.spans import Interval, Intervals
from contracts.timeframes import shift, shortest_length
from contracts.vocabulary import ErrorClass
from runtime.waiting import exponential_delay

PERMANENT: Final = frozenset(
    {
        ErrorClass.BAD_SYMBOL,
        ErrorClass.BAD_REQUEST,
        ErrorClass.NOT_SUPPORTED,
        ErrorClass.AUTHENTICATION,
        ErrorClass.BLOCKED_LOCATION,
        ErrorClass.UNPROVEN_TRADES,
    }
)
"""Error classes that last until a person changes something: the config, the keys, or the place of the collector."""

EXCHANGE_WIDE: Final = frozenset({ErrorClass.RATE_LIMITED, ErrorClass.BANNED, ErrorClass.MAINTENANCE})
"""Error classes with which the exchange refuses all requests for a while. Such attempts say nothing about the chunk."""

SKIPPED: Final = frozenset({ErrorClass.ALREADY_RUNNING, ErrorClass.SUPERSEDED})
"""Error classes of runs that sent no request."""


EVIDENCE_PERIODS: Final = 300
"""The longest span for which one run requests evidence, in periods. Each period needs more requests than its candle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingPolicy:
    """The numbers behind the decisions."""

    first_delay: timedelta
    """The pause before the first retry. It doubles with each further retry."""
    longest_delay: timedelta
    failed_delay: timedelta
    """The pause after a permanent error."""
    ledger_wait: timedelta
    """How long to wait until the candles of a run are in the ledger."""


class Outcome(NamedTuple):
    """The outcome of a run that has ended."""

    run_id: UUID
    error_class: ErrorClass | None
    message: str | None
    proved: Intervals
    """The spans that the ledger will contain because of this run: verified and lost ones."""


class LedgerView(NamedTuple):
    """The ledger within the span of a chunk."""

    verified: Intervals = ()
    final: Intervals = ()
    """Absences of a final class, except for provisional ones that are due for another check."""
    note: str | None = None
    """The newest other absence, with its evidence."""
    unproved: Intervals = ()
    """Absences that need evidence next: those of the class `unknown` that may be checked now, and provisional ones that
    are due.
    """
    final_note: str | None = None
    """The newest absence of a final class, with its evidence."""


def remaining(timeframe: str, span: Interval, ledger: LedgerView) -> Intervals:
    """The part of the span without an answer. Pieces that are shorter than a candle are left out, because they contain
    no candle.
    """
    open_spans = spans.subtract([span], [*ledger.verified, *ledger.final])
    shortest = shortest_length(timeframe)
    return tuple((start, end) for start, end in open_spans if end - start >= shortest)


def evidence_span(chunk: Chunk, ledger: LedgerView) -> Interval:
    """The part of the chunk for which its next run requests evidence: the first part without proof."""
    rest = remaining(chunk.timeframe, chunk.span, ledger)
    start, end = next(iter((*spans.intersect(rest, ledger.unproved), *rest, chunk.span)))
    return start, min(end, shift(chunk.timeframe, start, EVIDENCE_PERIODS))


def after_result(chunk: Chunk, outcome: Outcome, ledger: LedgerView, now: datetime, policy: ClosingPolicy) -> Chunk:
    """The chunk after one of its runs has ended. A repeated or late result cannot make the chunk wrong."""
    if not chunk.is_open or chunk.run_id != outcome.run_id or chunk.answered_at is not None:
        return chunk
    if not chunk.in_flight:  # the wait for this result had ended, and the next attempt has not begun
        was_read = chunk.purpose is not Purpose.REREAD or outcome.error_class is None
        return (_completed(chunk, ledger, now) if was_read else None) or chunk
    answered = replace(
        chunk,
        state=ChunkState.REQUESTED,
        claimed_until=None,
        answered_at=now,
        deadline_at=now + policy.ledger_wait,
        error_class=outcome.error_class,
        reason=outcome.message or "The run has ended. Its candles are not in the ledger yet.",
    )
    # The event of a run for evidence does not say what the ledger will contain.
    caught_up = chunk.purpose is not Purpose.EVIDENCE and _contains(ledger, chunk.span, outcome.proved)
    return _settled(answered, ledger, now, policy, caught_up=caught_up)


def after_check(chunk: Chunk, ledger: LedgerView, now: datetime, policy: ClosingPolicy) -> Chunk:
    """The chunk after another check against the ledger and the clock."""
    if chunk.answered_at is not None:
        return _settled(chunk, ledger, now, policy, caught_up=False)
    if not chunk.in_flight or chunk.deadline_at is None or now <= chunk.deadline_at:
        return chunk
    if (completed := _completed(chunk, ledger, now)) is not None and chunk.purpose is not Purpose.REREAD:
        return completed
    until = f"{chunk.deadline_at:%Y-%m-%d %H:%M:%S} UTC"
    reason = f"No result arrived until {until}: the collector has probably crashed."
    return _again(replace(chunk, error_class=ErrorClass.COLLECTOR_LOST, reason=reason), ledger, now, policy)


def _settled(chunk: Chunk, ledger: LedgerView, now: datetime, policy: ClosingPolicy, *, caught_up: bool) -> Chunk:
    """The chunk after its run: ended, waiting for the ledger, or waiting for the next attempt."""
    was_read = chunk.purpose is not Purpose.REREAD or chunk.error_class is None
    if was_read and (completed := _completed(chunk, ledger, now)) is not None:
        return completed
    if not caught_up and chunk.deadline_at is not None and now <= chunk.deadline_at:
        return chunk
    return _again(chunk, ledger, now, policy)


def _completed(chunk: Chunk, ledger: LedgerView, now: datetime) -> Chunk | None:
    if remaining(chunk.timeframe, chunk.span, ledger):
        return None
    absent = spans.intersect([chunk.span], ledger.final)
    return replace(
        chunk,
        state=ChunkState.CLASSIFIED if absent else ChunkState.VERIFIED,
        claimed_until=None,
        answered_at=None,
        deadline_at=None,
        error_class=None,
        reason=_of_absences(absent, ledger.final_note) if absent else None,
        ended_at=now,
    )


def _again(chunk: Chunk, ledger: LedgerView, now: datetime, policy: ClosingPolicy) -> Chunk:
    """The chunk, waiting for another attempt. The parts at its ends that are verified now are removed."""
    if chunk.purpose is Purpose.REREAD and chunk.error_class is None:
        chunk = replace(chunk, purpose=Purpose.BACKFILL)  # the chunk was read, so the rest counts as an ordinary hole
    error = None if chunk.error_class is None else ErrorClass(chunk.error_class)
    rest = spans.hull(remaining(chunk.timeframe, chunk.span, ledger)) or (chunk.span,)
    span = chunk.span if chunk.purpose is Purpose.REREAD else rest[0]
    progress = span != chunk.span
    of_chunk = error not in EXCHANGE_WIDE and error not in SKIPPED
    retries = 0 if progress else chunk.retries + of_chunk
    # The exchange may refuse a request that is only made for evidence. The next request for candles shows whether the
    # exchange refuses candles, too.
    permanent = error in PERMANENT and chunk.purpose is not Purpose.EVIDENCE
    again = replace(
        chunk,
        span=span,
        purpose=_next_purpose(chunk, rest, ledger, progress=progress),
        state=ChunkState.FAILED if permanent else ChunkState.WAITING,
        attempts=chunk.attempts + 1,
        retries=retries,
        claimed_until=None,
        answered_at=None,
        deadline_at=None,
    )
    if error is None:
        again = replace(again, reason=_of_rest(chunk.timeframe, rest[0], ledger))
    delay = policy.failed_delay if permanent else _delay(error, retries, policy)
    if chunk.loss_at is not None and chunk.loss_at > now and not permanent:
        delay = min(delay, max(policy.first_delay, (chunk.loss_at - now) / 2))  # retry before they are lost
    return replace(again, next_attempt_at=now + delay)


def _next_purpose(chunk: Chunk, rest: Intervals, ledger: LedgerView, *, progress: bool) -> Purpose:
    """The purpose of the next run. If the exchange answered a request for candles but the answer proved nothing, the
    next run requests evidence.

    After a run for evidence, the next run requests candles again, because candles may have appeared.
    """
    if chunk.purpose not in (Purpose.BACKFILL, Purpose.REPAIR, Purpose.EVIDENCE):
        return chunk.purpose
    asked = chunk.purpose is Purpose.EVIDENCE
    open_spans = remaining(chunk.timeframe, rest[0], ledger)
    if chunk.error_class is None and asked == progress and spans.intersect(open_spans, ledger.unproved):
        return Purpose.EVIDENCE
    reading = Purpose.REPAIR if chunk.backfill_id is None else Purpose.BACKFILL
    return reading if asked else chunk.purpose


def _delay(error: ErrorClass | None, retries: int, policy: ClosingPolicy) -> timedelta:
    if error in EXCHANGE_WIDE or error in SKIPPED:
        return policy.first_delay
    if retries == 0:
        return timedelta()
    first, longest = policy.first_delay.total_seconds(), policy.longest_delay.total_seconds()
    return timedelta(seconds=exponential_delay(first, longest, retries - 1))


def _contains(ledger: LedgerView, span: Interval, proved: Intervals) -> bool:
    """Whether the ledger contains all time of the span that the run proved."""
    expected = spans.intersect([span], proved)
    return not spans.subtract(expected, [*ledger.verified, *ledger.final])


def _of_rest(timeframe: str, rest: Interval, ledger: LedgerView) -> str:
    count = (rest[1] - rest[0]) // shortest_length(timeframe)
    candles = "1 candle" if count == 1 else f"up to {count} candles"
    known = f" ({ledger.note})" if ledger.note else ""
    start = to_instant(rest[0])
    return f"The exchange answered, but nothing proves {candles} from {start:%Y-%m-%d %H:%M} UTC on{known}."


def _of_absences(absent: Intervals, note: str | None) -> str:
    first, last = to_instant(absent[0][0]), to_instant(absent[-1][1])
    known = f" ({note})" if note else ""
    return f"No more candles can be collected from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC{known}."
