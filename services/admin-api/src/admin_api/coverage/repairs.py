"""The repair of spans that are not verified: the open chunks of the backfiller that contain them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.coverage.schemas import Repair
from store.tables import backfill_chunks

_OPEN_STATES: Final = ("waiting", "requested", "failed")
_COLUMNS: Final = (
    "starts_at",
    "ends_at",
    "state",
    "attempts",
    "next_attempt_at",
    "loss_at",
    "reason",
    "error_class",
)


class OpenChunk(NamedTuple):
    """A span that the backfiller requests. The fields are columns of `backfill_chunks`."""

    starts_at: datetime
    ends_at: datetime
    state: str
    attempts: int
    next_attempt_at: datetime
    loss_at: datetime | None = None
    reason: str | None = None
    error_class: str | None = None


async def open_chunks(connection: AsyncConnection, series_id: int, start: datetime, end: datetime) -> list[OpenChunk]:
    """The chunks between both times that are still open. The backfiller limits their number per series."""
    columns = backfill_chunks.c
    query: sa.Select[Any] = sa.select(*(columns[name] for name in _COLUMNS)).where(
        columns.series_id == series_id,
        columns.state.in_([sa.literal_column(f"'{state}'") for state in _OPEN_STATES]),
        columns.starts_at < end,
        columns.ends_at > start,
    )
    return [OpenChunk(*row) for row in (await connection.execute(query.order_by(columns.starts_at))).all()]


def repair_of(start: datetime, end: datetime, chunks: Iterable[OpenChunk]) -> Repair | None:
    """The repair of a span. None if no chunk contains a part of the span. Pure."""
    mine = [each for each in chunks if each.starts_at < end and each.ends_at > start]
    if not mine:
        return None
    tried = max(mine, key=lambda each: (each.attempts, each.reason is not None))
    losses = [each.loss_at for each in mine if each.loss_at is not None]
    return Repair(
        state=_state_of(mine),
        chunks=len(mine),
        attempts=tried.attempts,
        next_attempt_at=min((each.next_attempt_at for each in mine if each.state != "requested"), default=None),
        reason=tried.reason,
        error_class=tried.error_class,
        loss_at=min(losses, default=None),
    )


def _state_of(chunks: Sequence[OpenChunk]) -> str:
    """The state of the chunk that is continued first."""
    states = {each.state for each in chunks}
    return next(state for state in ("requested", "waiting", "failed") if state in states)
