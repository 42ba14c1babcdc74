"""Stored ledgers that are counted, and the rows of GET /completeness about them."""

from datetime import UTC, datetime
from typing import Any

from admin_api.app import AdminApi
from admin_api.coverage.completeness import completeness_of
from admin_api.coverage.completeness_schemas import Completeness, CompletenessQuery
from candle_writer.recount import recount_outdated
from contracts.coverage import to_milliseconds
from contracts.timeframes import HOUR_MS

NOW = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
MIDNIGHT = to_milliseconds(datetime(2026, 11, 22, tzinfo=UTC))
NUMBERS = ("closed_periods", "verified_periods", "answered_periods")


async def counted(api: AdminApi) -> None:
    """Candle-writer counts the stored ledgers."""
    await recount_outdated(api.engine, lambda _: None)


async def read(api: AdminApi, **parameters: Any) -> list[Completeness]:
    """All pages."""
    rows: list[Completeness] = []
    cursor = None
    while True:
        page, cursor = await completeness_of(api.engine, CompletenessQuery(**parameters, cursor=cursor), NOW)
        rows += page
        if cursor is None:
            return rows


def hours(*spans: tuple[float, float]) -> list[tuple[int, int]]:
    """Hours after midnight, in milliseconds since the epoch."""
    return [(MIDNIGHT + int(start * HOUR_MS), MIDNIGHT + int(end * HOUR_MS)) for start, end in spans]
