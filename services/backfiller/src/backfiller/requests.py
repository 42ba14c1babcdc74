"""Requests chunks: claims them, publishes `RangeDue`, and marks them as requested.

Delivery: at least once, with the same run id. The claim is committed first. If a backfiller dies before the
acknowledgement, its claim remains. When the claim has expired, another backfiller publishes the same request.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from backfiller.chunks import Chunk, claimed, requested
from backfiller.closing import evidence_span
from backfiller.limits import DueChunk, choose, free_places
from backfiller.tables import CHUNK_COLUMNS, database_now, ledgers_of, to_chunk, update_chunks
from contracts.bounds import END_OF_INSTANTS, FIRST_INSTANT
from contracts.coverage import span_of
from contracts.ranges import Purpose, RangeDue, range_run_id
from contracts.ticks import lane_of
from contracts.topics import RANGE_REQUESTS
from runtime.database import driver_transaction
from runtime.failpoints import failpoint
from runtime.kafka.publisher import EventPublisher

_CLAIM_LOCK: Final = 7_226_501_141
"""Advisory lock: one instance at a time claims chunks, so that the limits hold for all instances together."""

_TRY_LOCK: Final = "SELECT pg_try_advisory_xact_lock($1)"

_OUTSTANDING: Final = """
SELECT coalesce(lane, exchange) AS lane, count(*) AS chunks FROM backfill_chunks AS chunk
WHERE (state = 'requested' AND answered_at IS NULL) OR claimed_until IS NOT NULL GROUP BY 1
"""

_PAUSED: Final = "SELECT lane FROM lane_pauses WHERE paused_until > $1"

_DUE_EXCHANGES: Final = """
SELECT DISTINCT exchange FROM backfill_chunks
WHERE state IN ('waiting', 'failed') AND claimed_until IS NULL AND next_attempt_at <= $1
"""

_ACTIVE: Final = """
NOT EXISTS (SELECT FROM backfills WHERE backfills.id = chunk.backfill_id AND backfills.state <> 'active')
"""

_MAY_BE_CLAIMED: Final = f"""
chunk.exchange = place.exchange AND state IN ('waiting', 'failed') AND claimed_until IS NULL AND next_attempt_at <= $6
  AND config_id % place.lanes = place.remainder AND {_ACTIVE}
"""

# Retries come in the order in which they became due. So a chunk without any proof does not prevent the retries of
# others.
_DUE: Final = f"""
SELECT place.lane, due.id, due.is_retry FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::int[])
  AS place (lane, exchange, lanes, remainder, places)
CROSS JOIN LATERAL (
  (SELECT id, false AS is_retry, row_number() OVER (ORDER BY loss_at, starts_at DESC) AS turn
   FROM backfill_chunks AS chunk WHERE {_MAY_BE_CLAIMED} AND retries = 0
   ORDER BY loss_at, starts_at DESC LIMIT place.places)
  UNION ALL
  (SELECT id, true, row_number() OVER (ORDER BY next_attempt_at) FROM backfill_chunks AS chunk
   WHERE {_MAY_BE_CLAIMED} AND retries > 0 ORDER BY next_attempt_at LIMIT place.places)
) AS due
ORDER BY due.turn
"""  # noqa: S608 -- a constant

_LOCK_CHUNKS: Final = f"""
SELECT {CHUNK_COLUMNS} FROM backfill_chunks AS chunk JOIN series ON series.id = chunk.series_id
WHERE chunk.id = ANY($1::bigint[]) AND state IN ('waiting', 'failed') AND claimed_until IS NULL
ORDER BY array_position($1::bigint[], chunk.id) FOR UPDATE OF chunk SKIP LOCKED
"""  # noqa: S608 -- a constant

_EXPIRED: Final = f"""
SELECT {CHUNK_COLUMNS} FROM backfill_chunks AS chunk JOIN series ON series.id = chunk.series_id
WHERE claimed_until <= $1 AND state IN ('waiting', 'failed') AND coalesce(lane, chunk.exchange) <> ALL($2::text[])
  AND {_ACTIVE}
FOR UPDATE OF chunk SKIP LOCKED
"""  # noqa: S608 -- a constant

_LOCK_CLAIMED: Final = f"""
SELECT {CHUNK_COLUMNS} FROM backfill_chunks AS chunk JOIN series ON series.id = chunk.series_id
WHERE chunk.id = ANY($1::bigint[]) ORDER BY chunk.id FOR UPDATE OF chunk
"""  # noqa: S608 -- a constant


_VERIFIED_FROM: Final = """
SELECT series_id, lower(verified * tstzmultirange(tstzrange($2, $3))) AS start FROM coverage
WHERE series_id = ANY($1::int[])
"""

EVIDENCE_SECONDS: Final = 90
"""The shortest time until the deadline of a run for evidence. Such a run needs many small requests."""


class RequestPolicy(NamedTuple):
    """The numbers behind the requests."""

    lanes: Mapping[str, int]
    """Exchange id to its number of lanes."""
    per_lane: int
    total: int
    lease: timedelta
    start_wait: timedelta
    deadline_seconds: int


async def request_due_chunks(engine: AsyncEngine, publisher: EventPublisher, policy: RequestPolicy) -> list[Chunk]:
    """Request due chunks within the limits. Returns the requested chunks. Raises `PublishFailed` if Kafka does not
    acknowledge: the claims then expire, and the same requests are published again.
    """
    claims, now = await claim_due_chunks(engine, policy)
    if not claims:
        return []
    failpoint("backfiller.before_ranges")
    starts = await _verified_from(engine, claims)
    await publisher.publish_many(
        RANGE_REQUESTS, [range_due(chunk, now, policy, starts.get(chunk.id)) for chunk in claims]
    )
    failpoint("backfiller.after_ranges")
    return await _mark_requested(engine, claims, policy.start_wait)


async def claim_due_chunks(engine: AsyncEngine, policy: RequestPolicy) -> tuple[list[Chunk], datetime]:
    """Claim the chunks to request now. While another instance claims chunks, this claims none. Expired claims come
    first, because their chunks already count in the limits. For a chunk that needs evidence, the returned span is the
    requested part; the stored chunk keeps its whole span.
    """
    async with driver_transaction(engine) as connection:
        now = await database_now(connection)
        if not await connection.fetchval(_TRY_LOCK, _CLAIM_LOCK):
            return [], now
        paused = [row["lane"] for row in await connection.fetch(_PAUSED, now)]
        outstanding = Counter({row["lane"]: row["chunks"] for row in await connection.fetch(_OUTSTANDING)})
        rows = [*await connection.fetch(_EXPIRED, now, paused)]
        if ids := await _due(connection, outstanding, paused, now, policy):
            rows += await connection.fetch(_LOCK_CHUNKS, ids)
        before = [to_chunk(row) for row in rows]
        after = [_claimed(chunk, now, policy) for chunk in before]
        await update_chunks(connection, before, after)
        ledgers = await ledgers_of(connection, [each for each in after if each.purpose is Purpose.EVIDENCE], now)
        return [
            replace(each, span=evidence_span(each, ledgers[each.id])) if each.id in ledgers else each for each in after
        ], now


def range_due(chunk: Chunk, now: datetime, policy: RequestPolicy, verified_from: datetime | None = None) -> RangeDue:
    """The request of a claimed chunk. `verified_from`: see `RangeDue`."""
    shortest = EVIDENCE_SECONDS if chunk.purpose is Purpose.EVIDENCE else 0
    return RangeDue(
        occurred_at=now,
        run_id=range_run_id(chunk.id, chunk.attempts),
        chunk_id=chunk.id,
        attempt=chunk.attempts,
        config_id=chunk.config_id,
        exchange=chunk.exchange,
        symbol=chunk.symbol,
        timeframe=chunk.timeframe,
        span=span_of(chunk.span),
        purpose=chunk.purpose,
        verified_from=verified_from,
        requested_at=now,
        deadline_seconds=max(policy.deadline_seconds, shortest),
        lane=lane_of(chunk.exchange, chunk.config_id, policy.lanes),
    )


async def _verified_from(engine: AsyncEngine, claims: Sequence[Chunk]) -> dict[int, datetime]:
    """The first verified instant of the series, by chunk id, for the chunks that need evidence."""
    for_evidence = [each for each in claims if each.purpose is Purpose.EVIDENCE]
    if not for_evidence:
        return {}
    series = sorted({each.series_id for each in for_evidence})
    async with driver_transaction(engine) as connection:
        rows = await connection.fetch(_VERIFIED_FROM, series, FIRST_INSTANT, END_OF_INSTANTS)
        starts = {row["series_id"]: row["start"] for row in rows if row["start"] is not None}
        return {each.id: starts[each.series_id] for each in for_evidence if each.series_id in starts}


def _claimed(chunk: Chunk, now: datetime, policy: RequestPolicy) -> Chunk:
    lane = lane_of(chunk.exchange, chunk.config_id, policy.lanes)
    return claimed(chunk, lane, now, policy.lease, policy.start_wait)


async def _due(
    connection: Any, outstanding: Counter[str], paused: Sequence[str], now: datetime, policy: RequestPolicy
) -> list[int]:
    total = policy.total - outstanding.total()
    if total <= 0:
        return []
    exchanges = [row["exchange"] for row in await connection.fetch(_DUE_EXCHANGES, now)]
    places = free_places(exchanges, outstanding, paused, policy.lanes, policy.per_lane)
    if not places:
        return []
    rows = await connection.fetch(_DUE, *zip(*places, strict=True), now)
    return choose([DueChunk(row["id"], row["lane"], row["is_retry"]) for row in rows], places, total)


async def _mark_requested(engine: AsyncEngine, claims: Sequence[Chunk], wait: timedelta) -> list[Chunk]:
    runs = {chunk.id: chunk.run_id for chunk in claims}
    async with driver_transaction(engine) as connection:
        now = await database_now(connection)
        before = [to_chunk(row) for row in await connection.fetch(_LOCK_CLAIMED, sorted(runs))]
        marked = [(each, run) for each in before if (run := runs[each.id]) is not None]
        await update_chunks(
            connection, (each for each, _ in marked), (requested(each, run, now, wait) for each, run in marked)
        )
    return list(claims)
