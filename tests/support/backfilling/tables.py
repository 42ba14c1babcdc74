"""Configs, backfills and chunks in the database, for tests of the backfiller."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from support.stored_ledgers import store_ledger, store_series
from support.writers import query

_CONFIG: Final = text("""
    INSERT INTO data_collection_configs (symbol, exchange, timeframes, interval_minutes, enabled, start_date)
    VALUES (:symbol, :exchange, ARRAY[:timeframe], 1, :enabled, :start_date) RETURNING id
""")
_TIMEFRAME: Final = text("""
    INSERT INTO config_timeframes (exchange, symbol, timeframe, config_id)
    VALUES (:exchange, :symbol, :timeframe, :config_id)
""")
_BACKFILL: Final = text("""
    INSERT INTO backfills (selector, starts_at, ends_at, mode, source, created_by)
    VALUES ('{}', :starts_at, :ends_at, :mode, :source, 'test') RETURNING id
""")
_BACKFILL_SERIES: Final = text("""
    INSERT INTO backfill_series (backfill_id, exchange, symbol, timeframe, config_id)
    VALUES (:backfill_id, :exchange, :symbol, :timeframe, :config_id)
""")

OPEN_MINUTES: Final = """
SELECT coalesce(sum(extract(epoch FROM upper(hole) - lower(hole))), 0)::int / 60
FROM coverage, unnest(tstzmultirange(tstzrange($1, $2)) - verified) AS hole
"""
"""Minutes of all series in a range that are not verified."""

OVERLAPS: Final = """
SELECT count(*) FROM backfill_chunks AS one JOIN backfill_chunks AS two ON one.series_id = two.series_id
  AND one.id < two.id AND tstzrange(one.starts_at, one.ends_at) && tstzrange(two.starts_at, two.ends_at)
WHERE one.state IN ('waiting', 'requested', 'failed') AND two.state IN ('waiting', 'requested', 'failed')
"""
"""Pairs of open chunks that own the same time."""


async def store_config(engine: AsyncEngine, start_date: str | None = None, **changes: Any) -> int:
    """A config of one timeframe. Returns its id."""
    names = {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m"} | changes
    async with engine.begin() as connection:
        values = {"enabled": True, "start_date": start_date} | names
        config_id = int((await connection.execute(_CONFIG, values)).scalar_one())
        await connection.execute(_TIMEFRAME, names | {"config_id": config_id})
    return config_id


async def store_backfill(
    engine: AsyncEngine, starts_at: datetime | None, ends_at: datetime, mode: str = "missing", **changes: Any
) -> int:
    """A backfill of one series. Returns its id."""
    source = changes.pop("source", "candles")
    names = {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m", "config_id": 1} | changes
    async with engine.begin() as connection:
        values = {"starts_at": starts_at, "ends_at": ends_at, "mode": mode, "source": source}
        backfill_id = int((await connection.execute(_BACKFILL, values)).scalar_one())
        await connection.execute(_BACKFILL_SERIES, names | {"backfill_id": backfill_id})
    return backfill_id


async def chunks_by_state(database_url: str) -> dict[str, int]:
    return {state: count for state, count in await query(database_url, _BY_STATE)}  # noqa: C416 -- tuples of any length


_BY_STATE: Final = "SELECT state, count(*) FROM backfill_chunks GROUP BY 1 ORDER BY 1"


async def chunks(database_url: str, columns: str, where: str = "true") -> Sequence[tuple[Any, ...]]:
    return await query(database_url, f"SELECT {columns} FROM backfill_chunks WHERE {where} ORDER BY id")


def days_before(instant: datetime, days: float) -> datetime:
    return instant - timedelta(days=days)


async def a_covered_series(engine: AsyncEngine, *spans: tuple[int, int], **names: Any) -> int:
    series_id = await store_series(engine, **names)
    await store_ledger(engine, series_id, spans)
    return series_id


async def whole(database_url: str, start: datetime, end: datetime) -> bool:
    [(open_minutes,)] = await query(database_url, OPEN_MINUTES, start, end)
    assert open_minutes == 0, f"{open_minutes} minutes are open"
    return True


async def none_open(database_url: str) -> bool:
    states = await chunks_by_state(database_url)
    assert set(states) in ({"verified"}, {"classified"}), states
    return True


async def is_classified(database_url: str) -> bool:
    return ("classified",) in await chunks(database_url, "state")
