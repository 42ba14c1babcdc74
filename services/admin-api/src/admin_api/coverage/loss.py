"""The loss clock: the time at which an exchange stops offering a candle that is not verified. Times in milliseconds
since the epoch.

Only a few exchanges limit the number of newest candles. A series of any other exchange has no loss clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.coverage.schemas import NextLoss
from contracts.bounds import END_OF_INSTANTS, FIRST_INSTANT
from contracts.coverage import ANSWERED_CLASSES, names_of, to_instant, to_milliseconds
from contracts.exchange_catalogue import load_catalogue, market_kind
from contracts.pages import horizon_of
from contracts.spans import Interval
from contracts.timeframes import DAY_MS, HOUR_MS, shift

_MINUTE_MS: Final = 60_000

# Selects the first span of each series that is readable, not verified, and not absent for a final reason. Time before
# the first verified instant is ignored, because no config requests it. A market that is no longer traded has no candles
# after its last ones.
_FIRST_MISSING: Final = sa.text("""
SELECT wanted.number, lower(missing.span) AS starts, upper(missing.span) AS ends
FROM unnest(CAST(:exchanges AS text[]), CAST(:symbols AS text[]), CAST(:timeframes AS text[]),
            CAST(:horizons AS timestamptz[])) WITH ORDINALITY AS wanted (exchange, symbol, timeframe, horizon, number)
JOIN series USING (exchange, symbol, timeframe) JOIN coverage ON coverage.series_id = series.id
CROSS JOIN LATERAL (SELECT verified * tstzmultirange(tstzrange(:first, :last)) AS verified) AS known
LEFT JOIN markets USING (exchange, symbol)
CROSS JOIN LATERAL (
  SELECT least(CAST(:now AS timestamptz), CASE WHEN frozen_at IS NOT NULL
                                               THEN greatest(frozen_at, upper(known.verified)) END) AS until
) AS traded
CROSS JOIN LATERAL (
  SELECT span FROM unnest(
    tstzmultirange(tstzrange(greatest(horizon, lower(known.verified)), traded.until)) - known.verified
    - coalesce((SELECT range_agg(tstzrange(starts_at, ends_at)) FROM absences
                WHERE absences.series_id = series.id AND absence_class = ANY(CAST(:final AS text[]))), '{}')
  ) AS span ORDER BY span LIMIT 1
) AS missing
WHERE greatest(horizon, lower(known.verified)) < traded.until
""")


class Limited(NamedTuple):
    """A series for which the exchange sends only the newest candles."""

    exchange: str
    symbol: str
    timeframe: str
    newest_readable: int


@dataclass(frozen=True)
class Loss:
    """The next loss of a series. It happens unless a run reads the first missing span in time."""

    missing: Interval
    at: int
    """The time at which the exchange stops offering the first candle of the span."""


def limited(exchange: str, symbol: str, timeframe: str) -> Limited | None:
    """The series with the limit of its exchange. None if no limit is known."""
    entry = load_catalogue().exchanges.get(exchange)
    readable = None if entry is None else entry.newest_readable(market_kind(symbol), timeframe)
    return None if readable is None else Limited(exchange, symbol, timeframe, readable)


def loss_of(timeframe: str, newest_readable: int, missing: Interval) -> Loss:
    """The loss of a span that begins with the open time of a candle. Pure.

    The candle can be read while it is one of the newest `newest_readable` candles, which include the open one.
    """
    return Loss(missing, shift(timeframe, missing[0], newest_readable))


async def next_losses(connection: AsyncConnection, series: Sequence[Limited], now: int) -> list[Loss | None]:
    """The next loss of each series, in order.

    None for a series if everything is verified, or if nothing is known about it.
    """
    horizons = [horizon_of(each.timeframe, each.newest_readable, now) or 0 for each in series]
    values: dict[str, Any] = {
        "exchanges": [each.exchange for each in series],
        "symbols": [each.symbol for each in series],
        "timeframes": [each.timeframe for each in series],
        "horizons": [to_instant(each) for each in horizons],
        "first": FIRST_INSTANT,
        "last": END_OF_INSTANTS,
        "now": to_instant(now),
        "final": names_of(ANSWERED_CLASSES),
    }
    found = {row.number: row for row in (await connection.execute(_FIRST_MISSING, values)).all()}
    losses: list[Loss | None] = []
    for number, each in enumerate(series, 1):
        row = found.get(number)
        span = None if row is None else (to_milliseconds(row.starts), to_milliseconds(row.ends))
        losses.append(None if span is None else loss_of(each.timeframe, each.newest_readable, span))
    return losses


def describe(loss: Loss, now: int) -> NextLoss:
    """The loss for the coverage report, with a sentence. Pure."""
    start, end = (to_instant(each) for each in loss.missing)
    text = f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC begins to be lost forever in {_wait(loss.at - now)}"
    return NextLoss(start=start, end=end, lost_at=to_instant(loss.at), text=text)


def _wait(milliseconds: int) -> str:
    """A duration in words, rounded down: 3 h 12 min."""
    days, rest = divmod(max(0, milliseconds), DAY_MS)
    hours, rest = divmod(rest, HOUR_MS)
    minutes = rest // _MINUTE_MS
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min"
