"""The query for contradictions between the stored rows and the ledger, in one snapshot."""

from contracts.coverage import (
    ANSWERED_CLASSES,
    names_of,
)

_FINAL = ", ".join(f"'{name}'" for name in names_of(ANSWERED_CLASSES))
DISAGREEMENTS = f"""
SELECT 'stored, but not verified' AS problem, exchange, symbol, open_time AS at
FROM candles JOIN series ON series.id = candles.series_id LEFT JOIN coverage USING (series_id)
WHERE verified IS NULL OR NOT verified @> open_time
UNION ALL
SELECT 'verified, but not stored', exchange, symbol, at
FROM series JOIN coverage ON coverage.series_id = series.id, unnest(verified) AS span,
  generate_series(lower(span), upper(span) - interval '1 second',
    (CASE right(timeframe, 1) WHEN 'M' THEN left(timeframe, -1) || ' month' ELSE timeframe END)::interval) AS at
WHERE symbol LIKE 'FILLS%' AND NOT EXISTS (SELECT FROM candles WHERE series_id = series.id AND open_time = at)
UNION ALL
SELECT 'verified and absent', exchange, symbol, starts_at
FROM absences JOIN coverage USING (series_id) JOIN series ON series.id = series_id
WHERE verified && tstzmultirange(tstzrange(starts_at, ends_at))
UNION ALL
SELECT 'absent twice', exchange, symbol, one.starts_at
FROM absences AS one JOIN absences AS two USING (series_id) JOIN series ON series.id = series_id
WHERE one.starts_at < two.starts_at AND two.starts_at < one.ends_at
UNION ALL
SELECT 'not in the daily counts', exchange, symbol, NULL
FROM series LEFT JOIN coverage ON coverage.series_id = series.id LEFT JOIN series_counts AS counts
  ON counts.series_id = series.id,
LATERAL (
  SELECT coalesce(sum(upper(hole) - lower(hole)), interval '0') AS open
  FROM unnest(tstzmultirange(range_merge(verified)) - verified) AS hole
) AS holes,
LATERAL (
  SELECT coalesce(sum(ends_at - starts_at) FILTER (
      WHERE absence_class IN ({_FINAL}) AND NOT (absence_class = 'before_listing' AND number = 1
        AND (verified IS NULL OR starts_at < lower(verified)))
    ), interval '0') AS answered, count(*) AS number
  FROM (SELECT *, row_number() OVER (ORDER BY starts_at) AS number
        FROM absences WHERE absences.series_id = series.id) AS of_series
) AS absent
WHERE (verified IS NOT NULL OR absent.number > 0) AND missing IS DISTINCT FROM holes.open + absent.answered
"""
"""Contradictions between rows and ledger, in one snapshot. Exchanges have a candle in each slot of symbols FILLS..."""
