"""What can be done to a config, as part of the caller's work: the row, its claims on timeframes, its announcements."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.configs.manual_runs import ManualRuns
from admin_api.configs.repository import ConfigChange, change_announcement, get_config, lock_for_update, write_configs
from admin_api.configs.schemas import Config, NewConfig, TriggerAccepted
from admin_api.http.etags import EntityTags, require_match
from admin_api.http.exchange_catalogue import Catalogue, require_offered
from admin_api.writes.outbox import append, tombstone
from admin_api.writes.transactions import reading, transaction
from admin_api.writes.unit_of_work import UnitOfWork
from contracts.topics import CONFIG_CHANGES
from store.tables import configs


class ConfigService:
    """The verbs. `expected` is what the caller's If-Match said: the versions of the config that it may be done to."""

    def __init__(self, engine: AsyncEngine, catalogue: Catalogue, manual_runs: ManualRuns) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._manual_runs = manual_runs

    async def create(self, work: UnitOfWork, wanted: NewConfig) -> Config:
        """Raises `InvalidInput`, `TimeframesTaken`."""
        require_offered(self._catalogue, wanted.exchange, wanted.timeframes)
        [config] = await write_configs(work, create=[wanted])
        work.log_after_commit("Config created", action="config_created", config_id=config.id, **_describe(config))
        return config

    async def update(
        self, work: UnitOfWork, config_id: int, wanted: Mapping[str, Any], expected: EntityTags | None = None
    ) -> Config:
        """Apply what differs; when nothing does, the version stays and nothing is announced.

        Raises `NotFound`, `Stale`, `InvalidInput`, `TimeframesTaken`.
        """
        before = await lock_for_update(work.connection, config_id)
        require_match(expected, before.version)
        change = ConfigChange.of(before, wanted, work.now)
        if change is None:
            return before
        if change.fields & {"exchange", "timeframes"}:
            require_offered(self._catalogue, change.after.exchange, change.after.timeframes)
        await write_configs(work, change=[change])
        work.log_after_commit(
            "Config changed", action="config_changed", config_id=config_id, changed=sorted(change.fields)
        )
        return change.after

    async def delete(self, work: UnitOfWork, config_id: int, expected: EntityTags | None = None) -> None:
        """Its logs and candles stay. Raises `NotFound`, `Stale`."""
        config = await lock_for_update(work.connection, config_id)
        require_match(expected, config.version)
        await write_configs(work, remove=[config])
        work.log_after_commit("Config deleted", action="config_deleted", config_id=config_id, **_describe(config))

    async def trigger(self, work: UnitOfWork, config_id: int, expected: EntityTags | None = None) -> TriggerAccepted:
        """Ask for a run at once, also of a disabled config. Raises `NotFound`, `Stale`."""
        config = await lock_for_update(work.connection, config_id)
        require_match(expected, config.version)
        [accepted] = await self._manual_runs.ask(work, [config])
        return accepted

    async def get(self, config_id: int) -> Config:
        """Raises `NotFound`."""
        async with reading(self._engine) as connection:
            return await get_config(connection, config_id)


async def resync(engine: AsyncEngine, now: datetime, batch: int = 500) -> int:
    """Announce every config as it is now, through the outbox; returns how many. Versions stay.

    The rows are locked while their state is appended: without it, a change that commits in between could be
    overtaken by the older state. In batches by id, so that nobody waits long for a lock.
    """
    last_id, count = 0, 0
    while True:
        some = sa.select(configs).where(configs.c.id > last_id).order_by(configs.c.id).limit(batch).with_for_update()
        async with transaction(engine) as connection:
            get_config = [Config.model_validate(row) for row in (await connection.execute(some)).all()]
            await append(connection, [change_announcement(config, now) for config in get_config])
        if not get_config:
            return count
        last_id, count = get_config[-1].id, count + len(get_config)


async def reannounce(engine: AsyncEngine, config_ids: AbstractSet[int], now: datetime) -> None:
    """Announce these configs as they are now, or as gone: so that this is the last word on them in Kafka."""
    some = sa.select(configs).where(configs.c.id.in_(config_ids)).order_by(configs.c.id).with_for_update()
    async with transaction(engine) as connection:
        rows = (await connection.execute(some)).all()
        get_config = {config.id: config for config in map(Config.model_validate, rows)}
        gone = sorted(config_ids - get_config.keys())
        await append(connection, [change_announcement(config, now) for config in get_config.values()])
        await append(connection, [tombstone(CONFIG_CHANGES, str(config_id)) for config_id in gone])


def _describe(config: Config) -> dict[str, str]:
    return {"exchange": config.exchange, "symbol": config.symbol, "timeframes": ",".join(config.timeframes)}
