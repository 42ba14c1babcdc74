"""Reads the present problems from the database."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.coverage.loss_metrics import losses_of_configs
from admin_api.coverage.next_losses import SeriesLoss, soonest_first
from admin_api.notifications.messages import example_of
from admin_api.notifications.problems import Cause, Group, Problem
from admin_api.receivers.settings import ProblemKind
from admin_api.writes.transactions import reading
from contracts.coverage import to_milliseconds
from contracts.vocabulary import ErrorClass, JobType
from store.tables import configs

STUCK_AFTER: Final = timedelta(minutes=30)
INTERVALS: Final = 3
SHORTEST_SILENCE: Final = timedelta(minutes=15)
"""A config counts if it had no run in three of its intervals, but not before this time has passed."""

# Each config costs two look-ups in the index of its runs. Runs of ranges do not count: the backfiller repeats them. If
# the last run of a config failed and no further run follows, the problem remains, because only a successful run ends
# it.
_CONFIGS: Final = sa.text("""
WITH config AS (
  SELECT id, exchange, symbol, job_id, updated_at,
         CAST(:now AS timestamptz) - greatest(:intervals * make_interval(mins => interval_minutes), :silence) AS silent,
         CAST(:now AS timestamptz) - greatest(2 * make_interval(mins => interval_minutes), '1 day') AS oldest
  FROM data_collection_configs WHERE enabled
), state AS (
  SELECT config.exchange, config.symbol, config.id, failure.error_class, failure.error_message, failure.at,
    updated_at < silent AND NOT EXISTS (
      SELECT FROM job_execution_logs AS run
      WHERE run.job_name = config.job_id AND started_at >= silent AND job_type = :job_type
    ) AS is_silent, silent
  FROM config LEFT JOIN LATERAL (
    SELECT status, coalesce(error_class, :unknown) AS error_class, error_message,
           coalesce(finished_at, started_at) AS at
    FROM job_execution_logs AS run
    WHERE run.job_name = config.job_id AND started_at >= oldest AND status IN ('success', 'failed')
      AND job_type = :job_type
    ORDER BY started_at DESC, run.id DESC LIMIT 1
  ) AS failure ON failure.status = 'failed'
)
SELECT exchange, NULL AS error_class, min(silent) AS since, count(*) AS configs, min(id) AS id,
       (array_agg(symbol ORDER BY id))[1] AS symbol, NULL AS error
FROM state WHERE is_silent GROUP BY exchange
UNION ALL
SELECT exchange, error_class, min(at), count(*), min(id),
       (array_agg(symbol ORDER BY id))[1], (array_agg(error_message ORDER BY id))[1]
FROM state WHERE error_class IS NOT NULL GROUP BY exchange, error_class
""")

_STUCK: Final = sa.text("""
SELECT exchange, count(*) AS runs, min(started_at) AS since, (array_agg(symbol ORDER BY started_at, id))[1] AS symbol,
       (array_agg(id ORDER BY started_at, id))[1] AS id
FROM job_execution_logs WHERE status = 'running' AND started_at < :before GROUP BY 1
""")


async def read_problems(engine: AsyncEngine, now: datetime) -> list[Problem]:
    """All present problems. Raises the errors of `reading`."""
    async with reading(engine) as connection:
        found = [*await _of_configs(connection, now), *await _stuck(connection, now)]
    at = to_milliseconds(now)
    losses = soonest_first(await losses_of_configs(engine, at), at)
    return [*found, *at_risk(losses)]


async def _of_configs(connection: AsyncConnection, now: datetime) -> list[Problem]:
    values = {
        "now": now,
        "intervals": INTERVALS,
        "silence": SHORTEST_SILENCE,
        "job_type": JobType.DATA_COLLECTION,
        "unknown": ErrorClass.INTERNAL,
    }
    rows = (await connection.execute(_CONFIGS, values)).all()
    enabled = sa.select(configs.c.exchange, sa.func.count().label("configs")).where(configs.c.enabled.is_(True))
    counts = await connection.execute(enabled.group_by(configs.c.exchange))
    totals = {row.exchange: row.configs for row in counts}
    return [
        Problem(
            group=Group(
                row.exchange,
                Cause(ProblemKind.FAILED_RUNS, row.error_class) if row.error_class else Cause(ProblemKind.NO_RUNS),
            ),
            since=row.since,
            size=row.configs,
            total=totals[row.exchange],
            example=example_of(row.symbol, f"config {row.id}", row.error),
        )
        for row in rows
    ]


async def _stuck(connection: AsyncConnection, now: datetime) -> list[Problem]:
    rows = await connection.execute(_STUCK, {"before": now - STUCK_AFTER})
    return [
        Problem(
            group=Group(row.exchange, Cause(ProblemKind.STUCK_RUNS)),
            since=row.since,
            size=row.runs,
            example=example_of(row.symbol, f"run {row.id}", None),
        )
        for row in rows
    ]


def at_risk(losses: Iterable[SeriesLoss]) -> list[Problem]:
    """One problem per exchange. `losses` are ordered by their time. Pure."""
    endangered: dict[str, list[SeriesLoss]] = {}
    for loss in losses:
        if loss.at_risk:
            endangered.setdefault(loss.exchange, []).append(loss)
    return [
        Problem(
            group=Group(exchange, Cause(ProblemKind.CANDLES_AT_RISK)),
            since=of[0].lost_at,
            size=len(of),
            example=example_of(of[0].symbol, of[0].timeframe, of[0].text),
        )
        for exchange, of in endangered.items()
    ]
