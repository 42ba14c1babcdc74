"""The missing time of a target, as SQL. All code that plans, counts or shows missing time uses this definition.

A target is the range of a series that a backfill wants. Its missing time is the part that is not answered:

In the mode `missing`, time is answered if it is verified, or if it has an absence of a final class that is not due for
another check. If a backfill builds candles from trades, the time for which the exchange no longer has candles is
missing, too. In the mode `all`, time is answered if a chunk of the backfill with this time has ended as verified or
classified.

All arguments are SQL expressions. Write `verified` with `VERIFIED_SPANS`, so that times that Python cannot read are
left out.
"""

from typing import Final, NamedTuple

from contracts.bounds import END_OF_INSTANTS, FIRST_INSTANT
from contracts.coverage import ANSWERED_CLASSES, GONE_CLASSES, names_of
from contracts.pages import EARLIEST


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


_FINAL: Final = _listed(names_of(ANSWERED_CLASSES))
_GONE: Final = _listed(names_of(GONE_CLASSES))

VERIFIED_SPANS: Final = (
    f"coalesce(coverage.verified, '{{}}') * tstzmultirange(tstzrange('{FIRST_INSTANT}', '{END_OF_INSTANTS}'))"
)
"""The verified spans of a row of `coverage`, which may be null."""


class Bounds(NamedTuple):
    """The first instant of a target, and the first instant after it."""

    start: str
    end: str


def target_bounds(start: str, end: str, *, verified: str, now: str) -> Bounds:
    """The target of a range. A range without a start (null) begins with the earliest history. It ends with the last
    verified instant, because live runs collect the time after it. If the start is not before the end, the target is
    empty.
    """
    # `greatest` and `least` ignore null.
    return Bounds(f"greatest({start}, timestamptz '{EARLIEST}')", f"least({end}, upper({verified}), {now})")


def is_final(*, now: str, from_trades: str = "false") -> str:
    """Whether a row of `absences` answers its time. A provisional absence that is due for another check does not."""
    return (
        f"(absence_class IN ({_FINAL}) AND NOT ({from_trades} AND absence_class IN ({_GONE})) "
        f"AND (recheck_at IS NULL OR recheck_at > {now}))"
    )


def missing_time(
    target: str, *, series_id: str, verified: str, reread: str, from_trades: str, backfill_id: str, now: str
) -> str:
    """The missing time of a target, a multirange."""
    return f"""(tstzmultirange({target}) - CASE WHEN {reread} THEN (
  SELECT coalesce(range_agg(tstzrange(starts_at, ends_at)), '{{}}') FROM backfill_chunks AS ended
  WHERE ended.series_id = {series_id} AND ended.backfill_id = {backfill_id} AND state IN ('verified', 'classified')
) ELSE {verified} + (
  SELECT coalesce(range_agg(tstzrange(starts_at, ends_at)), '{{}}') FROM absences
  WHERE absences.series_id = {series_id} AND {is_final(now=now, from_trades=from_trades)}
) END)"""  # noqa: S608 -- expressions of the code
