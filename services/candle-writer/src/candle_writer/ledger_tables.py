"""Writes the ledger to Postgres, in the transaction that stores the candles and locks their series."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from candle_writer.day_tables import write_days
from candle_writer.ledger import AbsentSpan, Check, Claims, canonical, remaining_absences
from contracts.bounds import END_OF_INSTANTS, FIRST_INSTANT
from contracts.coverage import AbsenceClass, to_instant, to_milliseconds
from contracts.spans import Interval, hull

_MAX_STORED_SPANS: Final = 64
"""Of a series with many gaps, only the newest stored candles are claimed, as in the migration that created the
ledger.
"""

_STORED: Final = """
SELECT series_id, lower(span) AS start, upper(span) AS until
FROM unnest($1::int[], $2::timestamptz[]) AS behind (series_id, since),
  unnest(stored_spans(series_id, since, $3)) AS span
WHERE lower(span) >= $4 AND upper(span) < $5
"""
# An earlier release may have stored candles at times that Python cannot represent and the contract does not allow.

_VERIFY: Final = """
WITH claimed AS MATERIALIZED (
  SELECT series_id, range_agg(tstzrange('epoch'::timestamptz + start_ms * interval '1 millisecond',
                                        'epoch'::timestamptz + end_ms * interval '1 millisecond')) AS spans,
         range_agg(tstzrange('epoch'::timestamptz + start_ms * interval '1 millisecond',
                             'epoch'::timestamptz + end_ms * interval '1 millisecond'))
           FILTER (WHERE is_built) AS built
  FROM unnest($1::int[], $2::bigint[], $3::bigint[], $6::boolean[]) AS claims (series_id, start_ms, end_ms, is_built)
  GROUP BY series_id
), extended AS (
  INSERT INTO coverage AS stored (series_id, verified, from_trades, updated_at)
  SELECT series_id, spans, built, now() FROM claimed ORDER BY series_id
  ON CONFLICT (series_id) DO UPDATE SET
    verified = stored.verified + excluded.verified, updated_at = excluded.updated_at,
    from_trades = nullif(
      coalesce(stored.from_trades, '{}') + (coalesce(excluded.from_trades, '{}') - stored.verified)
        - (excluded.verified - coalesce(excluded.from_trades, '{}')), '{}')
  WHERE NOT stored.verified @> excluded.verified
    OR stored.from_trades && (excluded.verified - coalesce(excluded.from_trades, '{}'))
  RETURNING series_id, verified
)
SELECT series_id, meets_absence, is_counted, greatest(least(lower(spans), upper(before)), $4) AS start,
       least(greatest(upper(spans), lower(before)), $5) AS until
FROM (
  SELECT series_id, spans, extended.verified AS known, extended.verified @> range_merge(extended.verified) AS is_one,
         lower(spans) < (
    SELECT ends_at FROM absences
    WHERE absences.series_id = claimed.series_id AND starts_at < upper(spans) ORDER BY starts_at DESC LIMIT 1
  ) AS meets_absence
  FROM claimed LEFT JOIN extended USING (series_id)
) AS changed
LEFT JOIN LATERAL (
  SELECT anchor, unverified = 0 AND answered = 0 AND (known IS NULL OR is_one)
           AND (listed_at IS NULL OR lower(spans) >= listed_at) AS is_complete
  FROM series_counts WHERE series_counts.series_id = changed.series_id OFFSET 0
) AS counts ON true
LEFT JOIN LATERAL (
  SELECT verified AS before FROM coverage
  WHERE coverage.series_id = changed.series_id AND NOT is_complete OFFSET 0
) AS stored ON true
LEFT JOIN LATERAL (
  SELECT (date_part('epoch', coalesce(last_open, lower(known), anchor) - anchor) * 1000)::bigint % length = 0 AND (
           known IS NULL OR (before @> (near * range_merge(before)) AND known @> (near * range_merge(known)))
         ) AS is_clear
  FROM series, LATERAL (
    SELECT left(timeframe, -1)::bigint * CASE right(timeframe, 1) WHEN 's' THEN 1000 WHEN 'm' THEN 60000
      WHEN 'h' THEN 3600000 WHEN 'd' THEN 86400000 WHEN 'w' THEN 604800000 WHEN 'M' THEN 2678400000
      ELSE 31622400000 END AS length
  ) AS periods, LATERAL (
    SELECT tstzrange(greatest(least(lower(spans), upper(before)), $4) - 2 * length * interval '1 millisecond',
                     least(greatest(upper(spans), lower(before)), $5) + 2 * length * interval '1 millisecond') AS near
  ) AS around
  WHERE series.id = changed.series_id AND before IS NOT NULL OFFSET 0
) AS gaps ON true
CROSS JOIN LATERAL (
  SELECT coalesce(is_complete, false) OR coalesce(is_clear, false) AS is_counted
) AS judged
WHERE meets_absence OR NOT is_counted
"""
# `from_trades` is the verified time for which there are only candles from trades, and none of the exchange's own.
# Returns the series with absences that may be verified now. Absences of a series do not overlap. So of those that start
# before the end of the claim, the last one to start is also the last one to end.
#
# Also returns the series whose daily counts may change. The counts of a series that never had an open hole do not
# change. The counts of another series do not change if the time from the verified spans to the claim has no open hole,
# neither before nor after this statement. The search includes two periods more, because a period at the edge may be
# partly missing. `before` is the ledger before this statement.

_ABSENCES: Final = """
SELECT series_id, starts_at, ends_at, absence_class, evidence, first_seen,
       CASE WHEN last_checked > now() + interval '1 hour' THEN now() ELSE last_checked END AS last_checked, run_id,
       level, proof::text AS proof, recheck_at
FROM unnest($1::int[], $2::timestamptz[], $3::timestamptz[]) AS changed (series_id, start, until)
JOIN absences USING (series_id)
WHERE starts_at <= until AND ends_at >= start
"""

_VERIFIED: Final = """
SELECT series_id, lower(span) AS start, upper(span) AS until
FROM unnest($1::int[], $2::timestamptz[], $3::timestamptz[]) AS changed (series_id, start, until)
JOIN coverage USING (series_id), unnest(verified * tstzmultirange(tstzrange(start, until))) AS span
"""

_REMOVE_ABSENCES: Final = """
DELETE FROM absences USING unnest($1::int[], $2::timestamptz[]) AS removed (series_id, starts_at)
WHERE absences.series_id = removed.series_id AND absences.starts_at = removed.starts_at
"""

_ADD_ABSENCES: Final = """
INSERT INTO absences (series_id, starts_at, ends_at, absence_class, evidence, first_seen, last_checked, run_id,
                      level, proof, recheck_at)
SELECT series_id, starts_at, ends_at, absence_class, evidence, first_seen, last_checked, run_id, level, proof::jsonb,
  recheck_at
FROM unnest($1::int[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[], $6::timestamptz[],
            $7::timestamptz[], $8::uuid[], $9::smallint[], $10::text[], $11::timestamptz[])
  AS added (series_id, starts_at, ends_at, absence_class, evidence, first_seen, last_checked, run_id, level, proof,
            recheck_at)
"""

_REJECT: Final = """
INSERT INTO rejected_candles AS stored
  (series_id, open_time, "row", reason, first_seen, last_seen, times, run_id, run_ids)
SELECT series_id, open_time, "row", (array_agg(reason ORDER BY seen_at DESC, run_id DESC, reason DESC))[1],
  min(seen_at), max(seen_at), least(count(DISTINCT run_id), 100),
  (array_agg(run_id ORDER BY seen_at DESC, run_id DESC))[1], (array_agg(DISTINCT run_id))[1:100]
FROM unnest($1::int[], $2::timestamptz[], $3::text[], $4::text[], $5::timestamptz[], $6::uuid[])
  AS rejected (series_id, open_time, "row", reason, seen_at, run_id)
GROUP BY series_id, open_time, "row" ORDER BY series_id, open_time, "row"
ON CONFLICT (series_id, open_time, "row") DO UPDATE SET
  first_seen = least(stored.first_seen, excluded.first_seen),
  (last_seen, run_id, reason) = (
    SELECT * FROM (VALUES (CASE WHEN stored.last_seen > now() + interval '1 hour' THEN '-infinity'
                                ELSE stored.last_seen END, stored.run_id, stored.reason),
                          (excluded.last_seen, excluded.run_id, excluded.reason)) AS sights (seen, run, why)
    ORDER BY seen DESC, run DESC, why DESC LIMIT 1
  ),
  (run_ids, times) = (
    SELECT (array_agg(run))[1:100], least(count(*), 100)
    FROM (SELECT run FROM unnest(stored.run_ids || excluded.run_ids) AS run GROUP BY run) AS runs
  )
WHERE excluded.first_seen < stored.first_seen
  OR (excluded.last_seen, excluded.run_id, excluded.reason) > (stored.last_seen, stored.run_id, stored.reason)
  OR stored.last_seen > now() + interval '1 hour'
  OR (stored.times < 100 AND NOT stored.run_ids @> excluded.run_ids)
"""
# A stored time that is more than an hour ahead comes from a wrong clock.
#
# A hundred run ids are enough to recognize a replayed message. Further runs are not counted, so that the row has a
# limited size.

Ledgers = Mapping[int, Claims]
"""The claims of a batch by series id."""


async def stored_spans(connection: Any, behind: Iterable[tuple[int, datetime]]) -> dict[int, list[Interval]]:
    """The spans of the stored candles from a time on, for pairs of series id and time."""
    pairs = list(behind)
    if not pairs:
        return {}
    return _by_series(
        await connection.fetch(_STORED, *zip(*pairs, strict=True), _MAX_STORED_SPANS, FIRST_INSTANT, END_OF_INSTANTS)
    )


async def write_ledger(connection: Any, ledgers: Ledgers) -> None:
    """Merge the claims with the ledger, and keep the daily counts. `connection` is asyncpg's, in a transaction that has
    locked the series and stored their candles.
    """
    spans = [(series, *span, built) for series, claims in ledgers.items() for span, built in claims.by_source()]
    changed = {series for series, claims in ledgers.items() if claims.absences}
    recounted: dict[int, Interval] = {}
    if spans:
        *columns, built = zip(*spans, strict=True)
        rows = await connection.fetch(_VERIFY, *columns, FIRST_INSTANT, END_OF_INSTANTS, built)
        changed |= {row["series_id"] for row in rows if row["meets_absence"]}
        recounted = {row["series_id"]: _interval(row) for row in rows}
    if changed:
        await _write_absences(connection, {series: ledgers[series] for series in sorted(changed)})
    if rejections := [(series, *each) for series, claims in ledgers.items() for each in claims.rejections]:
        await connection.execute(_REJECT, *zip(*rejections, strict=True))
    for series in changed:
        recounted[series] = _hull_of(ledgers[series], recounted.get(series))
    if recounted:
        await write_days(connection, recounted)


async def _write_absences(connection: Any, ledgers: Ledgers) -> None:
    """Change only the rows that differ. Absences next to the claims are included, because they may merge with new
    ones.
    """
    hulls = [(series, *map(to_instant, _hull_of(claims))) for series, claims in ledgers.items()]
    known: dict[int, set[AbsentSpan]] = {series: set() for series in ledgers}
    for row in await connection.fetch(_ABSENCES, *zip(*hulls, strict=True)):
        known[row["series_id"]].add(_absent_span(row))
    verified = _by_series(await connection.fetch(_VERIFIED, *zip(*hulls, strict=True)))
    removed, added = [], []
    for series, claims in ledgers.items():
        remaining = remaining_absences([*known[series], *claims.absences], verified.get(series, ()))
        removed += [(series, to_instant(each.start)) for each in known[series].difference(remaining)]
        added += [_absence_row(series, each) for each in remaining if each not in known[series]]
    if removed:
        await connection.execute(_REMOVE_ABSENCES, *zip(*removed, strict=True))
    if added:
        await connection.execute(_ADD_ABSENCES, *zip(*added, strict=True))


def _by_series(rows: Iterable[Mapping[str, Any]]) -> dict[int, list[Interval]]:
    spans: dict[int, list[Interval]] = defaultdict(list)
    for row in rows:
        spans[row["series_id"]].append(_interval(row))
    return spans


def _interval(row: Mapping[str, Any]) -> Interval:
    return to_milliseconds(row["start"]), to_milliseconds(row["until"])


def _hull_of(claims: Claims, other: Interval | None = None) -> Interval:
    others = () if other is None else (other,)
    return hull([*claims.verified, *((each.start, each.end) for each in claims.absences), *others])[0]


def _absent_span(row: Mapping[str, Any]) -> AbsentSpan:
    rank = list(AbsenceClass).index(AbsenceClass(row["absence_class"]))
    proof = canonical(json.loads(row["proof"])) if row["proof"] else ""
    again = 0 if row["recheck_at"] is None else to_milliseconds(row["recheck_at"])
    check = Check(row["last_checked"], rank, row["evidence"], row["run_id"], row["level"], proof, again)
    return AbsentSpan(to_milliseconds(row["starts_at"]), to_milliseconds(row["ends_at"]), check, row["first_seen"])


def _absence_row(series: int, absence: AbsentSpan) -> tuple[Any, ...]:
    check = absence.check
    start, end = to_instant(absence.start), to_instant(absence.end)
    known = series, start, end, check.absence_class.value, check.evidence, absence.first_seen, check.at, check.run_id
    again = to_instant(check.recheck_ms) if check.recheck_ms else None
    return *known, check.level, check.proof or None, again
