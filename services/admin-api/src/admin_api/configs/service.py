"""The operations on one config, in the caller's unit of work; and the resync of all configs."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.configs.manual_runs import ManualRuns
from admin_api.configs.market_status import with_markets
from admin_api.configs.repository import ConfigChange, change_announcement, get_config, lock_for_update, write_configs
from admin_api.configs.schemas import Config, NewConfig, TriggerAccepted
from admin_api.configs.start_dates import require_not_future
from admin_api.http.etags import EntityTags, require_match
from admin_api.http.exchange_catalogue import Catalogue
from admin_api.writes.outbox import append, tombstone
from admin_api.writes.transactions import reading, transaction
from admin_api.writes.unit_of_work import UnitOfWork
from contracts.topics import CONFIG_CHANGES
from store.tables import configs


class ConfigService:
    """The operations on one config. `expected` is the caller's If-Match header: the versions that may be changed."""

    def __init__(self, engine: AsyncEngine, catalogue: Catalogue, manual_runs: ManualRuns) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._manual_runs = manual_runs

    async def create(self, unit: UnitOfWork, wanted: NewConfig) -> Config:
        """Raises `InvalidInput`, `TimeframesTaken`."""
        self._catalogue.require_collectable(wanted.exchange, wanted.symbol, wanted.timeframes)
        require_not_future(wanted.start_date, unit.now)
        [config] = await write_configs(unit, create=[wanted])
        unit.log_after_commit("Config created", action="config_created", config_id=config.id, **_describe(config))
        return config

    async def update(
        self, unit: UnitOfWork, config_id: int, wanted: Mapping[str, Any], expected: EntityTags | None = None
    ) -> Config:
        """Change the fields that differ. If none differs, the version stays the same and no event is published.

        Raises `NotFound`, `VersionMismatch`, `InvalidInput`, `TimeframesTaken`.
        """
        before = await lock_for_update(unit.connection, config_id)
        require_match(expected, before.version)
        change = ConfigChange.of(before, wanted, unit.now)
        if change is None:
            return before
        if change.changes_claims:
            after = change.after
            self._catalogue.require_collectable(after.exchange, after.symbol, after.timeframes)
        if "start_date" in change.fields:
            require_not_future(change.after.start_date, unit.now)
        await write_configs(unit, change=[change])
        unit.log_after_commit(
            "Config changed", action="config_changed", config_id=config_id, changed=sorted(change.fields)
        )
        return change.after

    async def delete(self, unit: UnitOfWork, config_id: int, expected: EntityTags | None = None) -> None:
        """Delete a config. Its run log and candles stay. Raises `NotFound`, `VersionMismatch`."""
        config = await lock_for_update(unit.connection, config_id)
        require_match(expected, config.version)
        await write_configs(unit, remove=[config])
        unit.log_after_commit("Config deleted", action="config_deleted", config_id=config_id, **_describe(config))

    async def trigger(self, unit: UnitOfWork, config_id: int, expected: EntityTags | None = None) -> TriggerAccepted:
        """Request a manual run. The config may be disabled. Raises `NotFound`, `VersionMismatch`."""
        config = await lock_for_update(unit.connection, config_id)
        require_match(expected, config.version)
        [accepted] = await self._manual_runs.trigger(unit, [config])
        return accepted

    async def get(self, config_id: int) -> Config:
        """Raises `NotFound`."""
        async with reading(self._engine) as connection:
            [shown] = await with_markets(connection, [await get_config(connection, config_id)])
            return shown


async def resync(engine: AsyncEngine, now: datetime, batch: int = 500) -> int:
    """Publish the current state of every config through the outbox. Returns their number.

    Does not change the configs' versions. The rows are locked while their state is added to the outbox. Otherwise
    another change could commit in between, and the older state would be published after it. Batches keep the time of
    each lock short.
    """
    last_id, count = 0, 0
    while True:
        query = sa.select(configs).where(configs.c.id > last_id).order_by(configs.c.id).limit(batch).with_for_update()
        async with transaction(engine) as connection:
            found = [Config.model_validate(row) for row in (await connection.execute(query)).all()]
            await append(connection, [change_announcement(config, now, resynced=True) for config in found])
        if not found:
            return count
        last_id, count = found[-1].id, count + len(found)


async def reannounce(engine: AsyncEngine, config_ids: AbstractSet[int], now: datetime) -> None:
    """Publish the current state of these configs again as the latest messages in Kafka.

    For a deleted config, its deletion is published.
    """
    query = sa.select(configs).where(configs.c.id.in_(config_ids)).order_by(configs.c.id).with_for_update()
    async with transaction(engine) as connection:
        rows = (await connection.execute(query)).all()
        found = {config.id: config for config in map(Config.model_validate, rows)}
        deleted = sorted(config_ids - found.keys())
        await append(connection, [change_announcement(config, now) for config in found.values()])
        await append(connection, [tombstone(CONFIG_CHANGES, str(config_id)) for config_id in deleted])


def _describe(config: Config) -> dict[str, str]:
    return {"exchange": config.exchange, "symbol": config.symbol, "timeframes": ",".join(config.timeframes)}
