"""Reads and writes chunks, and reads the ledger within their spans.

`connection` is always asyncpg's, in a transaction.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from backfiller.chunks import Chunk, ChunkState
from backfiller.closing import LedgerView
from contracts import spans
from contracts.bounds import END_OF_INSTANTS, FIRST_INSTANT
from contracts.coverage import AbsenceClass, names_of, to_instant, to_milliseconds
from contracts.ranges import Purpose
from contracts.spans import Interval
from store.missing_time import is_final

_UNKNOWN: Final = names_of([AbsenceClass.UNKNOWN])

CHUNK_COLUMNS: Final = """
  chunk.id, chunk.series_id, chunk.config_id, chunk.exchange, series.symbol, series.timeframe, chunk.purpose,
  chunk.backfill_id, chunk.starts_at, chunk.ends_at, chunk.loss_at, chunk.state, chunk.attempts, chunk.retries,
  chunk.next_attempt_at, chunk.lane, chunk.run_id, chunk.claimed_until, chunk.requested_at, chunk.answered_at,
  chunk.deadline_at, chunk.reason, chunk.error_class, chunk.ended_at
"""

_UPDATE: Final = """
UPDATE backfill_chunks AS chunk SET
  starts_at = new.starts_at, ends_at = new.ends_at, state = new.state, attempts = new.attempts, retries = new.retries,
  next_attempt_at = new.next_attempt_at, lane = new.lane, run_id = new.run_id, claimed_until = new.claimed_until,
  requested_at = new.requested_at, answered_at = new.answered_at, deadline_at = new.deadline_at, reason = new.reason,
  error_class = new.error_class, ended_at = new.ended_at, purpose = new.purpose
FROM unnest(
  $1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::int[], $6::int[], $7::timestamptz[], $8::text[],
  $9::uuid[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::text[], $15::text[],
  $16::timestamptz[], $17::text[]
) AS new (
  id, starts_at, ends_at, state, attempts, retries, next_attempt_at, lane, run_id, claimed_until, requested_at,
  answered_at, deadline_at, reason, error_class, ended_at, purpose
)
WHERE chunk.id = new.id
"""

# The series are locked in order, so that two instances that close chunks of the same series do not deadlock.
_WAKE: Final = """
UPDATE series_plans SET next_plan_at = least(next_plan_at, $2) WHERE series_id IN (
  SELECT series_id FROM series_plans WHERE series_id = ANY($1::int[]) ORDER BY series_id FOR UPDATE)
"""

_VERIFIED: Final = """
SELECT wanted.id, lower(span) AS start, upper(span) AS until
FROM unnest($1::bigint[], $2::int[], $3::timestamptz[], $4::timestamptz[]) AS wanted (id, series_id, starts_at, ends_at)
JOIN coverage USING (series_id)
CROSS JOIN LATERAL unnest(verified * tstzmultirange(tstzrange(starts_at, ends_at))) AS span
"""

_ABSENCES: Final = f"""
SELECT wanted.id, absences.starts_at, absences.ends_at, absence_class, evidence,
  {is_final(now="$6", from_trades="from_trades")} AS is_final,
  coalesce(recheck_at > $6, false) AS is_early, coalesce(recheck_at <= $6, false) AS is_due
FROM unnest($1::bigint[], $2::int[], $3::timestamptz[], $4::timestamptz[], $5::boolean[])
  AS wanted (id, series_id, starts_at, ends_at, from_trades)
JOIN absences ON absences.series_id = wanted.series_id
  AND absences.starts_at < wanted.ends_at AND absences.ends_at > wanted.starts_at
ORDER BY absences.last_checked, absences.starts_at
"""  # noqa: S608 -- constants


async def database_now(connection: Any) -> datetime:
    """The time of the database's clock, so that all instances use the same clock."""
    now: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return now


def to_chunk(row: Mapping[str, Any]) -> Chunk:
    """The chunk of a row with `CHUNK_COLUMNS`."""
    values = dict(row)
    span = (to_milliseconds(values.pop("starts_at")), to_milliseconds(values.pop("ends_at")))
    purpose, state = Purpose(values.pop("purpose")), ChunkState(values.pop("state"))
    return Chunk(span=span, purpose=purpose, state=state, **values)


async def update_chunks(connection: Any, before: Iterable[Chunk], after: Iterable[Chunk]) -> list[Chunk]:
    """Write the chunks that have changed, and return them. The rows must be locked."""
    changed = [new for old, new in zip(before, after, strict=True) if new != old]
    if changed:
        await connection.execute(_UPDATE, *zip(*(_row(each) for each in changed), strict=True))
    return changed


async def wake_series(connection: Any, series_ids: Collection[int], now: datetime) -> None:
    """Plan these series at the next turn."""
    if series_ids:
        await connection.execute(_WAKE, sorted(series_ids), now)


async def ledgers_of(connection: Any, chunks: Collection[Chunk], now: datetime) -> dict[int, LedgerView]:
    """The ledger within the span of each chunk, by chunk id. `now` decides which absences are due for a check."""
    if not chunks:
        return {}
    wanted = list(zip(*((each.id, each.series_id, *map(to_instant, each.span)) for each in chunks), strict=True))
    verified: dict[int, list[Interval]] = defaultdict(list)
    final: dict[int, list[Interval]] = defaultdict(list)
    unproved: dict[int, list[Interval]] = defaultdict(list)
    notes: dict[int, str] = {}
    final_notes: dict[int, str] = {}
    from_trades = [each.purpose is Purpose.TRADES for each in chunks]
    for row in await connection.fetch(_VERIFIED, *wanted):
        verified[row["id"]].append((to_milliseconds(row["start"]), to_milliseconds(row["until"])))
    for row in await connection.fetch(_ABSENCES, *wanted, from_trades, now):
        note = f"{AbsenceClass(row['absence_class']).value}: {row['evidence']}"
        if row["is_final"]:
            final[row["id"]].append(_clipped(row["starts_at"], row["ends_at"]))
            final_notes[row["id"]] = note
            continue
        notes[row["id"]] = note
        if row["is_due"] or (row["absence_class"] in _UNKNOWN and not row["is_early"]):
            unproved[row["id"]].append(_clipped(row["starts_at"], row["ends_at"]))
    return {
        each.id: LedgerView(
            tuple(verified[each.id]),
            tuple(final[each.id]),
            notes.get(each.id),
            spans.union(unproved[each.id]),
            final_notes.get(each.id),
        )
        for each in chunks
    }


def _clipped(start: datetime, end: datetime) -> Interval:
    return to_milliseconds(max(start, FIRST_INSTANT)), to_milliseconds(min(end, END_OF_INSTANTS))


def _row(chunk: Chunk) -> tuple[Any, ...]:
    return (
        chunk.id,
        *map(to_instant, chunk.span),
        chunk.state.value,
        chunk.attempts,
        chunk.retries,
        chunk.next_attempt_at,
        chunk.lane,
        chunk.run_id,
        chunk.claimed_until,
        chunk.requested_at,
        chunk.answered_at,
        chunk.deadline_at,
        chunk.reason,
        chunk.error_class,
        chunk.ended_at,
        chunk.purpose.value,
    )
