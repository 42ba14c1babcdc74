"""The last runs and the next run of some configs, in one request for a page of them."""

from typing import Annotated, Final

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.http.input_types import Input, QueryInteger, RowId
from admin_api.runs.schemas import ConfigActivity, RunMark
from admin_api.writes.transactions import reading
from contracts.vocabulary import job_name
from store.tables import execution_logs, scheduled_jobs

MAX_CONFIGS: Final = 100
_logs: Final = execution_logs.c


class ActivityQuery(Input):
    """Unknown parameters are refused."""

    config_id: Annotated[
        list[RowId],
        Field(
            min_length=1,
            max_length=MAX_CONFIGS,
            description="Repeat the parameter for several configs.",
            examples=[[1, 2]],
        ),
    ]
    runs: QueryInteger = Field(default=20, ge=1, le=50, description="The largest number of runs of each config.")


async def activity_of(engine: AsyncEngine, query: ActivityQuery) -> list[ConfigActivity]:
    """One entry per requested config, in the order of the request. Configs without runs also have an entry."""
    wanted = list(dict.fromkeys(query.config_id))
    async with reading(engine) as connection:
        runs = await _last_runs(connection, wanted, query.runs)
        jobs = sa.select(scheduled_jobs.c.config_id, scheduled_jobs.c.next_fire_at).where(
            scheduled_jobs.c.config_id.in_(wanted), scheduled_jobs.c.active
        )
        next_runs = {row.config_id: row.next_fire_at for row in await connection.execute(jobs)}
    return [ConfigActivity(config_id=each, next_run_at=next_runs.get(each), runs=runs.get(each, [])) for each in wanted]


async def _last_runs(connection: AsyncConnection, wanted: list[int], limit: int) -> dict[int, list[RunMark]]:
    """The latest runs of each config, the oldest first.

    An index finds the runs of one config without reading the runs of others.
    """
    names = sa.values(sa.column("config_id", sa.BigInteger), sa.column("job_name", sa.Text), name="wanted").data(
        [(each, job_name(each)) for each in wanted]
    )
    latest = (
        sa.select(*(_logs[name] for name in RunMark.model_fields))
        .where(_logs.job_name == names.c.job_name)
        .order_by(_logs.started_at.desc(), _logs.id.desc())
        .limit(limit)
        .lateral("latest")
    )
    marks = sa.select(names.c.config_id, *latest.c).join_from(names, latest, sa.true())
    found: dict[int, list[RunMark]] = {}
    for row in await connection.execute(marks.order_by(latest.c.started_at, latest.c.id)):
        found.setdefault(row.config_id, []).append(RunMark.model_validate(row))
    return found
