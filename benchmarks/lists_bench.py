"""Compares pages and reports of a run log of ten million rows with the simple solution: OFFSET and count(*).

    python -m benchmarks.lists_bench [--quick]

Both sides read a hundred runs and their total from the same database, and build the same models. Each page is at a
position in its list, given in percent of the rows. If the rows of both sides differ, the benchmark fails. Reports are
compared with the guide's SQL.
"""

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import sqlalchemy as sa
from benchmarks.large_run_log import QUICK_ROWS, ROWS, a_run_log
from benchmarks.report import Row, table
from benchmarks.timing import milliseconds, spread
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.http.cursors import encode, fingerprint
from admin_api.runs.queries import RUNS, RunFilters, page_of_runs
from admin_api.runs.reports import ExchangesQuery, TopSymbolsQuery, exchanges, top_symbols
from admin_api.runs.schemas import ExecutionLog
from admin_api.writes.transactions import transaction
from runtime.database import build_engine
from runtime.settings import DatabaseSettings
from store.tables import execution_logs

TARGET_MS = 10.0
_ROUNDS = 20
_NAIVE_ROUNDS = 2

TOP_SYMBOLS = """
SELECT symbol, COUNT(*) AS executions, SUM(records_collected) AS total_records, AVG(duration_seconds) AS avg_duration,
  SUM(CASE WHEN status = 'success' THEN 1 ELSE 0 END)::float / COUNT(*) * 100 AS success_rate
FROM job_execution_logs
WHERE job_type = 'data_collection' AND started_at >= CAST(:since AS timestamptz)
GROUP BY symbol ORDER BY total_records DESC LIMIT 10
"""
EXCHANGES = """
SELECT exchange, AVG(duration_seconds) AS avg_duration, SUM(records_collected) AS total_records
FROM job_execution_logs WHERE job_type = 'data_collection' AND finished_at IS NOT NULL GROUP BY exchange
"""


@dataclass(frozen=True)
class ListPage:
    """A page: the filters of its list, and the share of the list's rows before it."""

    filters: dict[str, Any]
    share: float

    @property
    def name(self) -> str:
        filters = ", ".join(f"{name}={value}" for name, value in self.filters.items()) or "all runs"
        return f"{filters}, at {self.share:.0%}"


PAGES = (
    ListPage({}, 0),
    ListPage({}, 0.01),
    ListPage({}, 0.5),
    ListPage({}, 0.99),
    ListPage({"status": "failed"}, 0.99),
    ListPage({"exchange": "okx"}, 0.99),
    ListPage({"symbol": "C7/USDT"}, 0.99),
    ListPage({"job_name": "collect_data_7"}, 0.5),
    ListPage({"status": "failed", "exchange": "okx"}, 0.99),
    ListPage({"symbol": "C7/USDT", "exchange": "kraken"}, 0.5),
    ListPage({"symbol": "C7/USDT", "status": "skipped"}, 0),
)


def main(*, quick: bool = False) -> list[Row]:
    """Takes two minutes, plus the time to create the run log; with `quick` (a small run log) some seconds."""
    return asyncio.run(_measure(QUICK_ROWS if quick else ROWS))


async def _measure(rows: int) -> list[Row]:
    async with a_run_log(rows) as url:
        engine = build_engine(DatabaseSettings(database_url=url, database_command_timeout_seconds=300), "bench")
        try:
            pages = [await _measure_page(engine, list_page) for list_page in PAGES]
            return [*pages, *await _measure_reports(engine, datetime.now(UTC))]
        finally:
            await engine.dispose()


async def _measure_page(engine: AsyncEngine, list_page: ListPage) -> Row:
    filters = RunFilters.model_validate({**list_page.filters, "limit": 100})
    matches = filters.conditions()
    total, before = await _find_position(engine, matches, list_page.share)
    skip = round(total * list_page.share)
    if before is not None:
        cursor = encode(fingerprint(of_list=RUNS.name, query=filters.filters()), before)
        filters = RunFilters.model_validate({**list_page.filters, "limit": 100, "cursor": cursor})
    ours, page = await milliseconds(lambda: page_of_runs(engine, filters), _ROUNDS)
    naive, (rows, counted) = await milliseconds(lambda: _naive_page(engine, matches, skip), _NAIVE_ROUNDS)
    if [row.id for row in page.rows] != [row.id for row in rows] or (page.total.exact and page.total.rows != counted):
        raise AssertionError(f"{list_page.name}: the rows or totals of the two sides differ")
    total_text = f"{page.total.rows:,}" if page.total.exact else f"about {page.total.rows:,} (exactly {counted:,})"
    return Row.compare(
        list_page.name, median(ours), median(naive), "ms", f"{spread(ours)}; total {total_text}", ours_below=TARGET_MS
    )


async def _find_position(
    engine: AsyncEngine, matches: Sequence[sa.ColumnElement[bool]], share: float
) -> tuple[int, tuple[Any, ...] | None]:
    """Return the number of matching rows, and the sort keys of the last row before the page (None if there is none)."""
    order = RUNS.order("-started_at")
    async with transaction(engine) as connection:
        counting = sa.select(sa.func.count()).select_from(execution_logs).where(*matches)
        total = int(await connection.scalar(counting) or 0)
        if not (skip := round(total * share)):
            return total, None
        last = sa.select(*order.columns).where(*matches).order_by(*order.by()).offset(skip - 1).limit(1)
        return total, tuple((await connection.execute(last)).one())


async def _naive_page(
    engine: AsyncEngine, matches: Sequence[sa.ColumnElement[bool]], skip: int
) -> tuple[list[ExecutionLog], int]:
    order = RUNS.order("-started_at").by()
    page = sa.select(*RUNS.shown).where(*matches).order_by(*order).offset(skip).limit(100)
    async with transaction(engine) as connection:
        rows = [ExecutionLog.model_validate(row) for row in (await connection.execute(page)).all()]
        total = await connection.scalar(sa.select(sa.func.count()).select_from(execution_logs).where(*matches))
    return rows, total or 0


async def _measure_reports(engine: AsyncEngine, now: datetime) -> list[Row]:
    week = now - timedelta(days=7)
    top, _ = await milliseconds(lambda: top_symbols(engine, TopSymbolsQuery(), now), _NAIVE_ROUNDS)
    plain_top, _ = await milliseconds(lambda: _without_covering_index(engine, TOP_SYMBOLS, since=week), _NAIVE_ROUNDS)
    whole, _ = await milliseconds(lambda: exchanges(engine, ExchangesQuery(), now), _NAIVE_ROUNDS)
    plain_whole, _ = await milliseconds(lambda: _without_covering_index(engine, EXCHANGES), _NAIVE_ROUNDS)
    day, _ = await milliseconds(lambda: exchanges(engine, ExchangesQuery(hours=24), now), _ROUNDS)
    note = "baseline: the guide's SQL without a covering index"
    return [
        Row.compare("/reports/top-symbols, 7 days", median(top), median(plain_top), "ms", note),
        Row.compare("/reports/exchanges, the whole log", median(whole), median(plain_whole), "ms", note),
        Row.compare("/reports/exchanges, 24 hours", median(day), None, "ms"),
    ]


async def _without_covering_index(engine: AsyncEngine, query: str, **values: Any) -> Any:
    async with transaction(engine) as connection:
        await connection.execute(sa.text("SET LOCAL enable_indexonlyscan = off"))
        return (await connection.execute(sa.text(query), values)).all()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lists_bench")
    parser.add_argument("--quick", action="store_true", help="a small run log")
    print(table(main(quick=parser.parse_args().quick)))
