"""Closes chunks: applies the ends of runs, and checks chunks that wait for the ledger or whose run was lost."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from backfiller.chunks import Chunk, started
from backfiller.closing import ClosingPolicy, LedgerView, Outcome, after_check, after_result
from backfiller.tables import CHUNK_COLUMNS, database_now, ledgers_of, to_chunk, update_chunks, wake_series
from contracts.bounds import shortened
from contracts.runs import RunFinished, RunStarted
from runtime.database import driver_transaction

_BY_RUN: Final = f"""
SELECT {CHUNK_COLUMNS} FROM backfill_chunks AS chunk JOIN series ON series.id = chunk.series_id
WHERE chunk.run_id = ANY($1::uuid[]) ORDER BY chunk.id FOR UPDATE OF chunk
"""  # noqa: S608 -- a constant

_TO_CHECK: Final = f"""
SELECT {CHUNK_COLUMNS} FROM backfill_chunks AS chunk JOIN series ON series.id = chunk.series_id
WHERE (chunk.state = 'requested' AND (chunk.answered_at IS NOT NULL OR chunk.deadline_at < $1))
   OR (chunk.claimed_until IS NOT NULL AND chunk.deadline_at < $1)
ORDER BY chunk.id LIMIT $2 FOR UPDATE OF chunk SKIP LOCKED
"""  # noqa: S608 -- a constant

_CHECKED_AT_ONCE: Final = 1000
_MAX_REASON: Final = 500
"""The longest stored error message, in characters."""

Decide = Callable[[Chunk, LedgerView, datetime], Chunk]


async def apply_run_events(
    engine: AsyncEngine, events: Iterable[RunStarted | RunFinished], policy: ClosingPolicy, grace: timedelta
) -> list[Chunk]:
    """Apply the starts and ends of runs of chunks, in one transaction. Returns the chunks that changed. Events of other
    runs, and repeated ones, change nothing.
    """
    starts: dict[UUID, datetime] = {}
    outcomes: dict[UUID, Outcome] = {}
    for event in events:
        if isinstance(event, RunStarted):
            starts[event.run_id] = max(event.deadline_at, starts.get(event.run_id, event.deadline_at))
        else:
            outcomes[event.run_id] = _better(outcomes.get(event.run_id), outcome_of(event))

    def decide(chunk: Chunk, ledger: LedgerView, now: datetime) -> Chunk:
        if chunk.run_id is None:
            return chunk
        if (outcome := outcomes.get(chunk.run_id)) is not None:
            return after_result(chunk, outcome, ledger, now, policy)
        return started(chunk, chunk.run_id, starts[chunk.run_id], grace)

    runs = list({*starts, *outcomes})
    if not runs:
        return []
    async with driver_transaction(engine) as connection:
        return await _apply(connection, await connection.fetch(_BY_RUN, runs), decide)


async def check_again(engine: AsyncEngine, policy: ClosingPolicy) -> list[Chunk]:
    """Check chunks whose candles may be in the ledger now, and those without a result at their deadline. Returns those
    that changed.
    """

    def decide(chunk: Chunk, ledger: LedgerView, now: datetime) -> Chunk:
        return after_check(chunk, ledger, now, policy)

    async with driver_transaction(engine) as connection:
        now = await database_now(connection)
        return await _apply(connection, await connection.fetch(_TO_CHECK, now, _CHECKED_AT_ONCE), decide)


def outcome_of(event: RunFinished) -> Outcome:
    """The outcome of a run, for the decision about its chunk."""
    proved = [span.milliseconds() for result in event.results for span in (*result.verified, *result.lost)]
    message = None if event.error_message is None else shortened(event.error_message, _MAX_REASON)
    return Outcome(event.run_id, event.error_class, message, tuple(proved))


def _better(known: Outcome | None, other: Outcome) -> Outcome:
    """The better of two ends of the same run. A run has two ends if two collectors executed it. A success has priority
    over a failure.
    """
    return other if known is None or known.error_class is not None else known


async def _apply(connection: Any, rows: Sequence[Any], decide: Decide) -> list[Chunk]:
    """Decide the next state of locked chunks. The ledger is read after the chunks are locked, so a later decision sees
    a later ledger.
    """
    before = [to_chunk(row) for row in rows]
    if not before:
        return []
    now = await database_now(connection)
    ledgers = await ledgers_of(connection, before, now)
    changed = await update_chunks(connection, before, [decide(each, ledgers[each.id], now) for each in before])
    await wake_series(connection, {each.series_id for each in changed if not each.in_flight}, now)
    return changed
