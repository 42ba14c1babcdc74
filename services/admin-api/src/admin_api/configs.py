"""What can be done to a config, as part of the caller's work: the row, its claims on timeframes, its announcements."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.catalogue import Catalogue, require_offered
from admin_api.config_rows import Change, changed, found, locked, write
from admin_api.database import reading, transaction
from admin_api.manual_runs import ManualRuns
from admin_api.outbox import append, tombstone
from admin_api.preconditions import EntityTags, require_match
from admin_api.schemas import Config, NewConfig, TriggerAccepted
from admin_api.work import Work
from contracts.topics import CONFIG_CHANGES
from store.tables import configs


class Configs:
    """The verbs. `expected` is what the caller's If-Match said: the versions of the config that it may be done to."""

    def __init__(self, engine: AsyncEngine, catalogue: Catalogue, manual_runs: ManualRuns) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._manual_runs = manual_runs

    async def create(self, work: Work, wanted: NewConfig) -> Config:
        """Raises `InvalidInput`, `TimeframesTaken`."""
        require_offered(self._catalogue, wanted.exchange, wanted.timeframes)
        [config] = await write(work, create=[wanted])
        work.say("Config created", action="config_created", config_id=config.id, **_describe(config))
        return config

    async def update(
        self, work: Work, config_id: int, wanted: Mapping[str, Any], expected: EntityTags | None = None
    ) -> Config:
        """Apply what differs; when nothing does, the version stays and nothing is announced.

        Raises `NotFound`, `Stale`, `InvalidInput`, `TimeframesTaken`.
        """
        before = await locked(work.connection, config_id)
        require_match(expected, before.version)
        change = Change.of(before, wanted, work.now)
        if change is None:
            return before
        if change.fields & {"exchange", "timeframes"}:
            require_offered(self._catalogue, change.after.exchange, change.after.timeframes)
        await write(work, change=[change])
        work.say("Config changed", action="config_changed", config_id=config_id, changed=sorted(change.fields))
        return change.after

    async def delete(self, work: Work, config_id: int, expected: EntityTags | None = None) -> None:
        """Its logs and candles stay. Raises `NotFound`, `Stale`."""
        config = await locked(work.connection, config_id)
        require_match(expected, config.version)
        await write(work, remove=[config])
        work.say("Config deleted", action="config_deleted", config_id=config_id, **_describe(config))

    async def trigger(self, work: Work, config_id: int, expected: EntityTags | None = None) -> TriggerAccepted:
        """Ask for a run at once, also of a disabled config. Raises `NotFound`, `Stale`."""
        config = await locked(work.connection, config_id)
        require_match(expected, config.version)
        [accepted] = await self._manual_runs.ask(work, [config])
        return accepted

    async def get(self, config_id: int) -> Config:
        """Raises `NotFound`."""
        async with reading(self._engine) as connection:
            return await found(connection, config_id)


async def resync(engine: AsyncEngine, now: datetime, batch: int = 500) -> int:
    """Announce every config as it is now, through the outbox; returns how many. Versions stay.

    The rows are locked while their state is appended: without it, a change that commits in between could be
    overtaken by the older state. In batches by id, so that nobody waits long for a lock.
    """
    last_id, count = 0, 0
    while True:
        some = sa.select(configs).where(configs.c.id > last_id).order_by(configs.c.id).limit(batch).with_for_update()
        async with transaction(engine) as connection:
            found = [Config.model_validate(row) for row in (await connection.execute(some)).all()]
            await append(connection, [changed(config, now) for config in found])
        if not found:
            return count
        last_id, count = found[-1].id, count + len(found)


async def announce_again(engine: AsyncEngine, config_ids: AbstractSet[int], now: datetime) -> None:
    """Announce these configs as they are now, or as gone: so that this is the last word on them in Kafka."""
    some = sa.select(configs).where(configs.c.id.in_(config_ids)).order_by(configs.c.id).with_for_update()
    async with transaction(engine) as connection:
        rows = (await connection.execute(some)).all()
        found = {config.id: config for config in map(Config.model_validate, rows)}
        gone = sorted(config_ids - found.keys())
        await append(connection, [changed(config, now) for config in found.values()])
        await append(connection, [tombstone(CONFIG_CHANGES, str(config_id)) for config_id in gone])


def _describe(config: Config) -> dict[str, str]:
    return {"exchange": config.exchange, "symbol": config.symbol, "timeframes": ",".join(config.timeframes)}
