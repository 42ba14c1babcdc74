"""The table `manual_runs`: accepted triggers whose run has not ended.

A config has at most one *held* run: it is accepted, and its tick is not yet in the outbox. A held run cannot have
started, so another trigger may join it and get its run_id. When its tick is *released* to the outbox, the run may start
at any moment, and the next trigger gets a new run. Both steps lock the held row, so a trigger either joins before the
release or finds no held run. The run log alone could not decide this, because it lags behind the collector.

A run is held while another run of its config is in progress. A scheduled run whose start is not in the run log yet is
not visible here. This is harmless, because the collector also makes a manual run wait.
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
from contracts.vocabulary import JobType
from store.tables import manual_runs

INITIAL_RUN_WITHIN: Final = timedelta(seconds=3)
"""How long a trigger waits until the initial run of a new or newly enabled config is in the run log."""

assert TICKS.retention is not None  # noqa: S101 -- for the type checker
RESEND_AFTER: Final = TICKS.retention / 2
"""If a released run has no row in the run log after this time, its tick is sent again. The time is shorter than Kafka's
retention.
"""

_BATCH_SIZE: Final = 1000
"""The largest number of rows per statement. The next round handles the rest."""

_ENDED: Final = "EXISTS (SELECT FROM job_execution_logs WHERE run_id = {0} AND status <> 'running')"
_LOGGED: Final = "EXISTS (SELECT FROM job_execution_logs WHERE run_id = {0})"

_CONFIG_IS_BUSY: Final = f"""
    EXISTS (
      SELECT FROM job_execution_logs run
      WHERE run.status = 'running' AND run.deadline_at > :now AND run.config_id = held.config_id
        AND run.job_type = '{JobType.DATA_COLLECTION}'
        AND (run.started_at <= held.asked_at OR run.run_id = held.initial_run_id))
    OR EXISTS (
      SELECT FROM manual_runs other
      WHERE other.config_id = held.config_id AND other.released_at IS NOT NULL
        AND NOT {_ENDED.format("other.run_id")})
    OR (
      held.initial_run_id IS NOT NULL AND held.asked_at > :initial_since
        AND NOT {_LOGGED.format("held.initial_run_id")})
"""  # noqa: S608 -- constants
"""SQL: whether the config has another run in progress. Runs that started after the trigger do not count; otherwise a
config with frequent runs would hold its manual run forever. Runs of ranges do not count either, because they do not
exclude other runs of a config.
"""

_RELEASE: Final = """
    UPDATE manual_runs SET released_at = :now
    WHERE run_id IN (
      SELECT held.run_id FROM manual_runs held
      WHERE held.released_at IS NULL AND {only} AND (held.asked_at < :held_since OR NOT ({config_is_busy}))
      ORDER BY held.config_id LIMIT :batch_size FOR UPDATE SKIP LOCKED)
    RETURNING config_id, lane, tick, headers
"""
_TICK: Final[dict[str, Any]] = {"config_id": sa.BigInteger, "lane": sa.Text, "tick": sa.LargeBinary, "headers": JSONB}
_RELEASE_ALL: Final = sa.text(_RELEASE.format(only="true", config_is_busy=_CONFIG_IS_BUSY)).columns(**_TICK)
_RELEASE_OF: Final = sa.text(
    _RELEASE.format(only="held.config_id = ANY(:config_ids)", config_is_busy=_CONFIG_IS_BUSY)
).columns(**_TICK)

_RESEND: Final = sa.text(f"""
    UPDATE manual_runs SET released_at = :now
    WHERE run_id IN (
      SELECT released.run_id FROM manual_runs released
      WHERE released.released_at < :sent_since AND NOT {_LOGGED.format("released.run_id")}
      ORDER BY released.config_id LIMIT :batch_size FOR UPDATE SKIP LOCKED)
    RETURNING config_id, lane, tick, headers
""").columns(**_TICK)  # noqa: S608 -- constants

_DELETE_ENDED: Final = sa.text(f"""
    DELETE FROM manual_runs
    WHERE run_id IN (
      SELECT released.run_id FROM manual_runs released
      WHERE released.released_at IS NOT NULL AND {_ENDED.format("released.run_id")}
      ORDER BY released.config_id LIMIT :batch_size FOR UPDATE SKIP LOCKED)
""")  # noqa: S608 -- constants


@dataclass(frozen=True)
class Held:
    """A run that is not released yet. Another trigger may join it."""

    run_id: UUID
    asked_at: datetime
    """The time when its first trigger was accepted."""


async def held_runs(connection: AsyncConnection, config_ids: Sequence[int]) -> dict[int, Held]:
    """The held runs by config id. Their rows stay locked until the caller commits, so no run is released before the
    commit.
    """
    columns = manual_runs.c
    query = sa.select(columns.config_id, columns.run_id, columns.asked_at).where(
        columns.config_id.in_(config_ids), columns.released_at.is_(None)
    )
    rows = await connection.execute(query.order_by(columns.config_id).with_for_update())
    return {row.config_id: Held(row.run_id, row.asked_at) for row in rows}


async def hold(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert held runs, or replace the ticks of existing ones. `rows` have the columns of the table."""
    insert = pg_insert(manual_runs)
    replaced = {name: insert.excluded[name] for name in ("lane", "tick", "headers")}
    if rows:
        await connection.execute(insert.on_conflict_do_update(index_elements=["run_id"], set_=replaced), rows)


async def release(
    connection: AsyncConnection, now: datetime, max_hold: timedelta, config_ids: Sequence[int] | None = None
) -> list[Announcement]:
    """Release the held runs that need not wait any longer. Returns their ticks for the outbox.

    `max_hold`: a run is always released after this time, so that triggers do not depend on log-writer.
    `config_ids`: only runs of these configs; None means all. Rows that others have locked are skipped.
    """
    values: dict[str, Any] = {
        "now": now,
        "held_since": now - max_hold,
        "initial_since": now - INITIAL_RUN_WITHIN,
        "batch_size": _BATCH_SIZE,
    }
    if config_ids is None:
        return _ticks(await connection.execute(_RELEASE_ALL, values))
    return _ticks(await connection.execute(_RELEASE_OF, values | {"config_ids": list(config_ids)}))


async def resend(connection: AsyncConnection, now: datetime) -> list[Announcement]:
    """The ticks of released runs that never appeared in the run log, for the outbox. A duplicate tick has no effect."""
    values = {"now": now, "sent_since": now - RESEND_AFTER, "batch_size": _BATCH_SIZE}
    return _ticks(await connection.execute(_RESEND, values))


async def delete_ended(connection: AsyncConnection) -> None:
    """Delete the rows of runs that have ended."""
    await connection.execute(_DELETE_ENDED, {"batch_size": _BATCH_SIZE})


def _ticks(rows: sa.Result[Any]) -> list[Announcement]:
    return [
        Announcement(TICKS.name, row.lane, row.tick, row.headers) for row in sorted(rows, key=lambda row: row.config_id)
    ]
