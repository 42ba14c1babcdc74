"""All tables (SQLAlchemy Core). One service writes each table; the table's comment names it.

The view `ohlcv`, triggers and storage parameters are only in the migrations, because Alembic does not compare them.
"""

from store.tables.access import api_tokens, audit_log, sessions
from store.tables.backfills import (
    backfill_chunks,
    backfill_progress,
    backfill_series,
    backfills,
    lane_pauses,
    series_plans,
)
from store.tables.base import metadata
from store.tables.candles import (
    absences,
    candle_levels,
    candles,
    coverage,
    rejected_candles,
    series,
    series_counts,
    series_days,
    series_levels,
    stale_levels,
)
from store.tables.configs import config_timeframes, configs, idempotency_keys, manual_runs, notifications, outbox
from store.tables.runs import execution_logs, market_lists, markets, scheduled_jobs

__all__ = [
    "absences",
    "api_tokens",
    "audit_log",
    "backfill_chunks",
    "backfill_progress",
    "backfill_series",
    "backfills",
    "candle_levels",
    "candles",
    "config_timeframes",
    "configs",
    "coverage",
    "execution_logs",
    "idempotency_keys",
    "lane_pauses",
    "manual_runs",
    "market_lists",
    "markets",
    "metadata",
    "notifications",
    "outbox",
    "rejected_candles",
    "scheduled_jobs",
    "series",
    "series_counts",
    "series_days",
    "series_levels",
    "series_plans",
    "sessions",
    "stale_levels",
]
