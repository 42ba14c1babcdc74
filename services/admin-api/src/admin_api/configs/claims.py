"""Claims. With them, the database ensures that only one config collects a timeframe of a symbol on an exchange."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.configs.schemas import Config, NewConfig
from admin_api.http.errors import TimeframesTaken
from store.tables import config_timeframes

ClaimKey = tuple[str, str, str]
"""Exchange, symbol, timeframe."""


def claim_keys(config: Config | NewConfig) -> list[ClaimKey]:
    return [(config.exchange, config.symbol, timeframe) for timeframe in config.timeframes]


async def claim_holders(connection: AsyncConnection, pairs: Collection[tuple[str, str]]) -> dict[ClaimKey, int]:
    """The current claims on these pairs of exchange and symbol, each with the id of its config."""
    columns = config_timeframes.c
    query = select(columns.exchange, columns.symbol, columns.timeframe, columns.config_id)
    rows = await connection.execute(query.where(tuple_(columns.exchange, columns.symbol).in_(pairs)))
    return {(exchange, symbol, timeframe): holder for exchange, symbol, timeframe, holder in rows.all()}


async def release(connection: AsyncConnection, ids: Collection[int]) -> None:
    if ids:
        await connection.execute(delete(config_timeframes).where(config_timeframes.c.config_id.in_(ids)))


async def claim(connection: AsyncConnection, claimants: Sequence[Config]) -> None:
    """Insert the claims of these configs. Raises `TimeframesTaken` if another config has one of them.

    The primary key decides between concurrent transactions: the second one waits for the first. All insert in the
    same order, so they cannot deadlock.
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
    claim_holders = select(config_timeframes.c.config_id, config_timeframes.c.timeframe).where(
        config_timeframes.c.exchange == config.exchange,
        config_timeframes.c.symbol == config.symbol,
        config_timeframes.c.timeframe.in_(taken),
        config_timeframes.c.config_id != config.id,
    )
    by_config: dict[int, list[str]] = {}
    for holder, timeframe in (await connection.execute(claim_holders.order_by(*config_timeframes.primary_key))).all():
        by_config.setdefault(holder, []).append(timeframe)
    if not by_config:  # the claims were released between the two statements
        series = f"{config.symbol} on {config.exchange}"
        return TimeframesTaken(
            f"Another config that collects {', '.join(taken)} of {series} is being changed; try again."
        )
    return timeframes_taken(config.exchange, config.symbol, by_config)


def timeframes_taken(exchange: str, symbol: str, by_config: Mapping[int, Iterable[str]]) -> TimeframesTaken:
    """The error that names each config and the timeframes that it already collects."""
    held = [(holder, list(timeframes)) for holder, timeframes in sorted(by_config.items())]
    conflict_text = "; ".join(
        f"config {holder} already collects {', '.join(timeframes)}" for holder, timeframes in held
    )
    conflicts = [{"config_id": holder, "timeframes": timeframes} for holder, timeframes in held]
    return TimeframesTaken(
        f"{conflict_text} of {symbol} on {exchange}. Remove these timeframes, or change or delete that config.",
        extensions={**conflicts[0], "conflicts": conflicts},
    )
