"""Finds the series that a new backfill selects."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.backfills.schemas import MAX_SERIES, NewBackfill
from admin_api.backfills.targets import SeriesNames
from admin_api.configs.queries import config_conditions
from admin_api.configs.repository import not_found
from admin_api.http.errors import BulkRolledBack, NotFound
from store.tables import config_timeframes, configs

_COLUMNS = [config_timeframes.c[name] for name in ("exchange", "symbol", "timeframe", "config_id")]


async def select_series(connection: AsyncConnection, wanted: NewBackfill) -> list[SeriesNames]:
    """The series by exchange, symbol and timeframe, each once. Disabled configs are included.

    Raises `NotFound` if a named config or series does not exist or nothing is selected, and `BulkRolledBack` if too
    much is selected.
    """
    query = sa.select(*_COLUMNS)
    if wanted.select is not None:
        query = query.join(configs, configs.c.id == config_timeframes.c.config_id)
        query = query.where(*config_conditions(wanted.select))
    else:
        keys = [(each.exchange, each.symbol, each.timeframe) for each in wanted.series or ()]
        query = query.where(sa.tuple_(*_COLUMNS[:3]).in_(keys))
    found = [SeriesNames(*row) for row in (await connection.execute(query.order_by(*_COLUMNS[:3]))).all()]
    _require_all(wanted, found)
    if wanted.timeframes is not None:
        found = [each for each in found if each.timeframe in wanted.timeframes]
    if not found:
        raise NotFound("The request selects no series: no config matches, or none has these timeframes.")
    if len(found) > MAX_SERIES:
        raise BulkRolledBack(
            f"The request selects {len(found)} series, and a backfill has at most {MAX_SERIES}; select fewer."
        )
    return found


def _require_all(wanted: NewBackfill, found: Sequence[SeriesNames]) -> None:
    """Raises `NotFound` for the first config or series that was named and does not exist."""
    if wanted.select is not None and wanted.select.ids is not None:
        known = {each.config_id for each in found}
        for config_id in wanted.select.ids:
            if config_id not in known:
                raise not_found(config_id)
    names = {each[:3] for each in found}
    for series in wanted.series or ():
        if (series.exchange, series.symbol, series.timeframe) not in names:
            raise NotFound(
                f"No config collects {series.symbol} {series.timeframe} on {series.exchange}; create one first."
            )
