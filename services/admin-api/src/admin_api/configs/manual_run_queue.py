"""The table `manual_runs`: triggers that were accepted and whose run has not ended.

A config has at most one run that is *held*: accepted, and its tick not yet given to the outbox. A held run cannot have
started, so another trigger may join it and get its run_id. As soon as its tick is *released* the run may start at any
moment, and the next trigger gets a run of its own. Both steps lock the held row, so a trigger either joins before the
release or sees that there is nothing to join. The run log alone could not decide this: it lags behind the collector.

A run is held while another run of its config is going on. What this table does not know of (a scheduled run whose start
is not logged yet) is no error: the collector lets a manual run wait as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.writes.outbox import Announcement
from contracts.topics import TICKS
from store.tables import manual_runs

INITIAL_RUN_WITHIN: Final = timedelta(seconds=3)
"""A config that was created or enabled gets a run at once. A trigger waits this long for it to appear in the log."""

assert TICKS.retention is not None  # noqa: S101 -- for the type checker
RESEND_AFTER: Final = TICKS.retention / 2
"""If a released run has no row in the run log after this time, its tick is sent again before Kafka has deleted it."""

_SOME: Final = 1000
"""Rows per statement; the rest follows in the next round."""

_ENDED: Final = "EXISTS (SELECT FROM job_execution_logs WHERE run_id = {0} AND status <> 'running')"
_LOGGED: Final = "EXISTS (SELECT FROM job_execution_logs WHERE run_id = {0})"

_GOING_ON: Final = f"""
    EXISTS (
      SELECT FROM job_execution_logs run
      WHERE run.status = 'running' AND run.deadline_at > :now AND run.config_id = held.config_id
        AND (run.started_at <= held.asked_at OR run.run_id = held.initial_run_id))
    OR EXISTS (
      SELECT FROM manual_runs other
      WHERE other.config_id = held.config_id AND other.released_at IS NOT NULL
        AND NOT {_ENDED.format("other.run_id")})
    OR (
      held.initial_run_id IS NOT NULL AND held.asked_at > :initial_since
        AND NOT {_LOGGED.format("held.initial_run_id")})
"""  # noqa: S608 -- constants
"""Runs that started after the trigger do not count: a config whose runs follow each other closely would never be free.
"""

_RELEASE: Final = """
    UPDATE manual_runs SET released_at = :now
    WHERE run_id IN (
      SELECT held.run_id FROM manual_runs held
      WHERE held.released_at IS NULL AND {only} AND (held.asked_at < :held_since OR NOT ({going_on}))
      ORDER BY held.config_id LIMIT :some FOR UPDATE SKIP LOCKED)
    RETURNING config_id, lane, tick, headers
"""
_TICK: Final[dict[str, Any]] = {"config_id": sa.BigInteger, "lane": sa.Text, "tick": sa.LargeBinary, "headers": JSONB}
_RELEASE_ALL: Final = sa.text(_RELEASE.format(only="true", going_on=_GOING_ON)).columns(**_TICK)
_RELEASE_OF: Final = sa.text(_RELEASE.format(only="held.config_id = ANY(:config_ids)", going_on=_GOING_ON)).columns(
    **_TICK
)

_RESEND: Final = sa.text(f"""
    UPDATE manual_runs SET released_at = :now
    WHERE run_id IN (
      SELECT released.run_id FROM manual_runs released
      WHERE released.released_at < :sent_since AND NOT {_LOGGED.format("released.run_id")}
      ORDER BY released.config_id LIMIT :some FOR UPDATE SKIP LOCKED)
    RETURNING config_id, lane, tick, headers
""").columns(**_TICK)  # noqa: S608 -- constants

_FORGET: Final = sa.text(f"""
    DELETE FROM manual_runs
    WHERE run_id IN (
      SELECT released.run_id FROM manual_runs released
      WHERE released.released_at IS NOT NULL AND {_ENDED.format("released.run_id")}
      ORDER BY released.config_id LIMIT :some FOR UPDATE SKIP LOCKED)
""")  # noqa: S608 -- constants


@dataclass(frozen=True)
class Held:
    """A run that has not been released, so that a trigger may join it."""

    run_id: UUID
    asked_at: datetime
    """When its first trigger was accepted."""


async def held_runs(connection: AsyncConnection, config_ids: Sequence[int]) -> dict[int, Held]:
    """The held runs of these configs by config id, locked until the caller commits: they are not released before."""
    columns = manual_runs.c
    query = sa.select(columns.config_id, columns.run_id, columns.asked_at).where(
        columns.config_id.in_(config_ids), columns.released_at.is_(None)
    )
    rows = await connection.execute(query.order_by(columns.config_id).with_for_update())
    return {row.config_id: Held(row.run_id, row.asked_at) for row in rows}


async def hold(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add runs as held, or replace the ticks of those that are held already. `rows` have the columns of the table."""
    insert = pg_insert(manual_runs)
    replaced = {name: insert.excluded[name] for name in ("lane", "tick", "headers")}
    if rows:
        await connection.execute(insert.on_conflict_do_update(index_elements=["run_id"], set_=replaced), rows)


async def release(
    connection: AsyncConnection, now: datetime, hold_at_most: timedelta, config_ids: Sequence[int] | None = None
) -> list[Announcement]:
    """Release the held runs that need not wait any longer; returns their ticks, for the outbox.

    `hold_at_most`: a run is released after this time whatever the log says, so that triggers do not depend on
    log-writer. `config_ids`: only runs of these configs; None means all. Rows that others have locked are left out.
    """
    values: dict[str, Any] = {
        "now": now,
        "held_since": now - hold_at_most,
        "initial_since": now - INITIAL_RUN_WITHIN,
        "some": _SOME,
    }
    if config_ids is None:
        return _ticks(await connection.execute(_RELEASE_ALL, values))
    return _ticks(await connection.execute(_RELEASE_OF, values | {"config_ids": list(config_ids)}))


async def resend(connection: AsyncConnection, now: datetime) -> list[Announcement]:
    """The ticks of released runs that never appeared in the run log, for the outbox. A copy of a tick does no harm."""
    values = {"now": now, "sent_since": now - RESEND_AFTER, "some": _SOME}
    return _ticks(await connection.execute(_RESEND, values))


async def forget_ended(connection: AsyncConnection) -> None:
    """Delete the rows of runs that have ended."""
    await connection.execute(_FORGET, {"some": _SOME})


def _ticks(rows: sa.Result[Any]) -> list[Announcement]:
    return [
        Announcement(TICKS.name, row.lane, row.tick, row.headers) for row in sorted(rows, key=lambda row: row.config_id)
    ]
