"""Announces the progress of backfills, so that a page can follow it without polling.

One instance at a time announces a backfill, at most once a second: the row in `backfill_progress` is the claim.
Delivery: at least once. The row is marked after the acknowledgement. If an instance dies before that, the row keeps the
old numbers, and a later comparison announces the new ones.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from backfiller.chunks import Chunk
from backfiller.tables import database_now
from contracts.backfills import BackfillProgressed
from contracts.timeframes import parse_timeframe
from contracts.topics import BACKFILL_EVENTS
from runtime.database import driver_transaction
from runtime.kafka.publisher import EventPublisher
from store.missing_time import VERIFIED_SPANS, missing_time, target_bounds

ANNOUNCE_SECONDS: Final = 0.5
_PAUSE: Final = timedelta(seconds=1)
"""The pause between two announcements of a backfill."""
_COMPARE_ALL_SECONDS: Final = 15.0
"""The pause between two comparisons of all backfills that are not whole. These are necessary, because chunks of configs
also answer time of backfills.
"""
_AT_ONCE: Final = 20
_SHARE: Final = 10
"""The pause after a comparison, as a multiple of its duration. So comparisons of large backfills take a small share of
the time.
"""
_MAX_PAUSE_SECONDS: Final = _COMPARE_ALL_SECONDS
"""The longest pause after a comparison. After a slow comparison, the progress of other backfills is hidden at most for
this time.
"""

_UNFINISHED: Final = """
SELECT id FROM backfills WHERE state = 'active'
  AND NOT EXISTS (SELECT FROM backfill_progress WHERE backfill_id = id AND is_whole) ORDER BY id
"""

# The rows are locked in order, so that two instances that claim the same backfills do not deadlock.
_CLAIM: Final = """
INSERT INTO backfill_progress AS progress (backfill_id, claimed_at)
SELECT id, $2 FROM backfills WHERE id = ANY($1::bigint[]) AND state <> 'cancelled' ORDER BY id
ON CONFLICT (backfill_id) DO UPDATE SET claimed_at = excluded.claimed_at
WHERE NOT progress.is_whole AND progress.claimed_at <= excluded.claimed_at - $3::interval
RETURNING backfill_id, missing_candles
"""

_STILL_DUE: Final = """
SELECT backfill_id FROM backfill_progress WHERE backfill_id = ANY($1::bigint[]) AND NOT is_whole AND claimed_at > $2
"""

_TIMEFRAMES: Final = "SELECT DISTINCT timeframe FROM backfill_series WHERE backfill_id = ANY($1::bigint[])"

_TARGET: Final = target_bounds("wanted.starts_at", "wanted.ends_at", verified="verified", now="$4")
_MISSING: Final = missing_time(
    "target",
    series_id="targets.series_id",
    verified="verified",
    reread="reread",
    from_trades="from_trades",
    backfill_id="backfill_id",
    now="$4",
)

# A series without a row has never been read, so all of its target is missing.
_NUMBERS: Final = f"""
WITH wanted AS (
  SELECT backfill.id AS backfill_id, series.id AS series_id, length, mode = 'all' AS reread,
         source = 'trades' AS from_trades, {VERIFIED_SPANS} AS verified, starts_at, ends_at
  FROM backfills AS backfill
  JOIN backfill_series AS of_backfill ON of_backfill.backfill_id = backfill.id
  JOIN unnest($2::text[], $3::float8[]) AS lengths (timeframe, length) USING (timeframe)
  LEFT JOIN series USING (exchange, symbol, timeframe) LEFT JOIN coverage ON coverage.series_id = series.id
  WHERE backfill.id = ANY($1::bigint[])
), targets AS (
  SELECT *, tstzrange({_TARGET.start}, {_TARGET.end}) AS target FROM wanted WHERE {_TARGET.start} < {_TARGET.end}
)
SELECT backfill_id, sum(floor(extract(epoch FROM upper(target) - lower(target)) / length))::bigint AS candles,
       sum((SELECT coalesce(sum(floor(extract(epoch FROM upper(hole) - lower(hole)) / length)), 0)
            FROM unnest({_MISSING}) AS hole))::bigint AS missing
FROM targets GROUP BY backfill_id
"""  # noqa: S608 -- constants

_COUNTS: Final = """
SELECT backfill_id, count(*) FILTER (WHERE state = 'waiting') AS waiting,
       count(*) FILTER (WHERE state = 'requested') AS requested, count(*) FILTER (WHERE state = 'failed') AS failed,
       count(*) FILTER (WHERE state IN ('verified', 'classified', 'cancelled')) AS ended
FROM backfill_chunks WHERE backfill_id = ANY($1::bigint[]) GROUP BY backfill_id
"""

_MARK: Final = """
UPDATE backfill_progress AS progress SET missing_candles = new.missing, is_whole = new.is_whole
FROM unnest($1::bigint[], $2::bigint[], $3::boolean[]) AS new (backfill_id, missing, is_whole)
WHERE progress.backfill_id = new.backfill_id
"""


class _Claims(NamedTuple):
    now: datetime
    known: Mapping[int, int | None]
    """The number of missing candles in the last announcement, by backfill id. None before the first announcement."""
    still_due: frozenset[int]
    """The backfills that have changed, but were announced less than a second ago."""

    def differs(self, progress: BackfillProgressed) -> bool:
        """Whether the number of missing candles differs from the last announcement."""
        return progress.missing_candles != self.known[progress.backfill_id]


class ProgressAnnouncer:
    """Call `note` with changed chunks, and `announce` every `ANNOUNCE_SECONDS`."""

    def __init__(self, engine: AsyncEngine, publisher: EventPublisher) -> None:
        self._engine, self._publisher = engine, publisher
        self._changed: set[int] = set()
        self._compare_all_at, self._next_at = 0.0, 0.0

    def note(self, chunks: Collection[Chunk]) -> None:
        """Record that these chunks have changed. The progress of their backfills is then compared at the next call of
        `announce`.
        """
        self._changed.update(each.backfill_id for each in chunks if each.backfill_id is not None)

    async def announce(self) -> None:
        """Publish the progress of backfills that has changed. Raises `PublishFailed` if Kafka does not acknowledge."""
        started = time.monotonic()
        compares_all = started >= self._compare_all_at
        if started < self._next_at or not (self._changed or compares_all):
            return
        changed = set(sorted(self._changed)[:_AT_ONCE])
        self._changed -= changed
        try:
            self._changed |= await self._announce(changed, compares_all=compares_all)
        except BaseException:
            self._changed |= changed
            raise
        if compares_all:
            self._compare_all_at = started + _COMPARE_ALL_SECONDS
        ended = time.monotonic()
        self._next_at = ended + min(_SHARE * (ended - started), _MAX_PAUSE_SECONDS)

    async def _announce(self, changed: Collection[int], *, compares_all: bool) -> frozenset[int]:
        """Announce the progress. Returns the changed backfills that were announced too recently."""
        claims = await self._claim(changed, compares_all=compares_all)
        found = await self._compare(claims) if claims.known else []
        reports = [each for each in found if each.backfill_id in changed or claims.differs(each)]
        if reports:
            await self._publisher.publish_many(BACKFILL_EVENTS, reports)
            await self._mark(reports)
        return claims.still_due

    async def _claim(self, changed: Collection[int], *, compares_all: bool) -> _Claims:
        async with driver_transaction(self._engine) as connection:
            now = await database_now(connection)
            ids = set(changed)
            if compares_all:
                ids |= {row["id"] for row in await connection.fetch(_UNFINISHED)}
            rows = await connection.fetch(_CLAIM, sorted(ids), now, _PAUSE)
            known = {row["backfill_id"]: row["missing_candles"] for row in rows}
            due = await connection.fetch(_STILL_DUE, sorted(set(changed) - known.keys()), now - _PAUSE)
            return _Claims(now, known, frozenset(row["backfill_id"] for row in due))

    async def _compare(self, claims: _Claims) -> list[BackfillProgressed]:
        async with driver_transaction(self._engine) as connection:
            return await read_progress(connection, sorted(claims.known), claims.now)

    async def _mark(self, reports: Sequence[BackfillProgressed]) -> None:
        rows = [(each.backfill_id, each.missing_candles, each.is_whole) for each in reports]
        async with driver_transaction(self._engine) as connection:
            await connection.execute(_MARK, *zip(*rows, strict=True))


async def read_progress(connection: Any, ids: Sequence[int], now: datetime) -> list[BackfillProgressed]:
    """The progress of these backfills. Backfills that cannot collect anything yet are left out."""
    timeframes = [row["timeframe"] for row in await connection.fetch(_TIMEFRAMES, ids)]
    lengths = [parse_timeframe(each).nominal_ms / 1000 for each in timeframes]
    numbers = await connection.fetch(_NUMBERS, ids, timeframes, lengths, now)
    counts = {row["backfill_id"]: row for row in await connection.fetch(_COUNTS, ids)}
    return [_progress(row, counts.get(row["backfill_id"]), now) for row in numbers]


def _progress(numbers: Any, counts: Any | None, now: datetime) -> BackfillProgressed:
    names = ("waiting", "requested", "failed", "ended")
    return BackfillProgressed(
        occurred_at=now,
        backfill_id=numbers["backfill_id"],
        candles=numbers["candles"],
        missing_candles=numbers["missing"],
        is_whole=numbers["candles"] > 0 and numbers["missing"] == 0,
        **{name: 0 if counts is None else counts[name] for name in names},
    )
