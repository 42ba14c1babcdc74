"""Remembers which lanes are throttled, banned, in maintenance or unreachable. Their chunks wait without an attempt."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.exchanges import ExchangeHealthChanged
from contracts.vocabulary import ExchangeState
from runtime.database import driver_transaction

_WRITE: Final = """
INSERT INTO lane_pauses AS pause (lane, paused_until, reason, reported_at)
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::timestamptz[])
ON CONFLICT (lane) DO UPDATE SET
  paused_until = excluded.paused_until, reason = excluded.reason, reported_at = excluded.reported_at
WHERE excluded.reported_at >= pause.reported_at OR pause.reported_at > now() + interval '1 hour'
"""
# A stored time that is more than an hour ahead comes from a wrong clock.


class Pause(NamedTuple):
    """A row of `lane_pauses`."""

    lane: str
    until: datetime
    """The end of the pause. It is in the past for a healthy exchange."""
    reason: str
    reported_at: datetime


def pauses_of(events: Iterable[ExchangeHealthChanged]) -> list[Pause]:
    """The newest state of each lane, ordered by lane. Pure."""
    newest: dict[str, Pause] = {}
    for event in events:
        lane = event.lane or event.exchange
        known = newest.get(lane)
        if known is None or event.occurred_at >= known.reported_at:
            newest[lane] = _pause(lane, event)
    return [newest[lane] for lane in sorted(newest)]


async def store_pauses(engine: AsyncEngine, pauses: list[Pause]) -> None:
    """Store the states. A newer report replaces an older one."""
    if pauses:
        async with driver_transaction(engine) as connection:
            await connection.execute(_WRITE, *zip(*pauses, strict=True))


def _pause(lane: str, event: ExchangeHealthChanged) -> Pause:
    if event.state is ExchangeState.OK or event.until is None:
        return Pause(lane, event.occurred_at, "ok", event.occurred_at)
    reason = f"{event.state.value}: {event.reason}" if event.reason else event.state.value
    return Pause(lane, event.until, reason[:500], event.occurred_at)
