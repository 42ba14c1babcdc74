"""Who collects what: each timeframe of a symbol on an exchange is claimed by one config at most."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.configs.schemas import Config, NewConfig
from admin_api.http.errors import TimeframesTaken
from store.tables import config_timeframes

Series = tuple[str, str, str]
"""Exchange, symbol, timeframe."""


def series_of(config: Config | NewConfig) -> list[Series]:
    return [(config.exchange, config.symbol, timeframe) for timeframe in config.timeframes]


async def holders(connection: AsyncConnection, pairs: Collection[tuple[str, str]]) -> dict[Series, int]:
    """Which config collects what of these exchanges' symbols, at this moment."""
    columns = config_timeframes.c
    query = select(columns.exchange, columns.symbol, columns.timeframe, columns.config_id)
    rows = await connection.execute(query.where(tuple_(columns.exchange, columns.symbol).in_(pairs)))
    return {(exchange, symbol, timeframe): holder for exchange, symbol, timeframe, holder in rows.all()}


async def release(connection: AsyncConnection, ids: Collection[int]) -> None:
    if ids:
        await connection.execute(delete(config_timeframes).where(config_timeframes.c.config_id.in_(ids)))


async def claim(connection: AsyncConnection, claimants: Sequence[Config]) -> None:
    """The primary key decides who collects a timeframe: of two at once, one waits for the other and then sees it.

    Sorted, so that two who want several of the same never wait for each other. Raises `TimeframesTaken`.
    """
    wanted = sorted(
        (config.exchange, config.symbol, timeframe, config.id)
        for config in claimants
        for timeframe in config.timeframes
    )
    if not wanted:
        return
    columns = (config_timeframes.c.exchange, config_timeframes.c.symbol, config_timeframes.c.timeframe)
    insert = pg_insert(config_timeframes).on_conflict_do_nothing().returning(*columns, config_timeframes.c.config_id)
    rows = [dict(zip(("exchange", "symbol", "timeframe", "config_id"), each, strict=True)) for each in wanted]
    claimed = {tuple(row) for row in (await connection.execute(insert, rows)).all()}
    missing = [each for each in wanted if each not in claimed]
    if missing:
        refused = next(config for config in claimants if config.id == missing[0][3])
        raise await _explain_taken(connection, refused, [each[2] for each in missing if each[3] == refused.id])


async def _explain_taken(connection: AsyncConnection, config: Config, taken: list[str]) -> TimeframesTaken:
    holders = select(config_timeframes.c.config_id, config_timeframes.c.timeframe).where(
        config_timeframes.c.exchange == config.exchange,
        config_timeframes.c.symbol == config.symbol,
        config_timeframes.c.timeframe.in_(taken),
        config_timeframes.c.config_id != config.id,
    )
    by_config: dict[int, list[str]] = {}
    for holder, timeframe in (await connection.execute(holders.order_by(*config_timeframes.primary_key))).all():
        by_config.setdefault(holder, []).append(timeframe)
    if not by_config:  # it let go of them between our two statements
        series = f"{config.symbol} on {config.exchange}"
        return TimeframesTaken(f"Another config that collected {', '.join(taken)} of {series} is changing; try again.")
    return timeframes_taken(config.exchange, config.symbol, by_config)


def timeframes_taken(exchange: str, symbol: str, by_config: Mapping[int, Iterable[str]]) -> TimeframesTaken:
    """The refusal that names which config collects which of the timeframes already."""
    held = [(holder, list(timeframes)) for holder, timeframes in sorted(by_config.items())]
    said = "; ".join(f"config {holder} already collects {', '.join(timeframes)}" for holder, timeframes in held)
    conflicts = [{"config_id": holder, "timeframes": timeframes} for holder, timeframes in held]
    return TimeframesTaken(
        f"{said} of {symbol} on {exchange}. Leave these timeframes out, or change or delete that config.",
        extensions={**conflicts[0], "conflicts": conflicts},
    )
