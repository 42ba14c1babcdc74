"""What can be done to a config. Each verb is one transaction: the row, its claims on timeframes, its announcements."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api import audit
from admin_api.actors import Actor
from admin_api.catalogue import Catalogue, require_offered
from admin_api.database import transaction
from admin_api.errors import NotFound, TimeframesTaken
from admin_api.outbox import Announcement, announcement, append, tombstone
from admin_api.schemas import Config, NewConfig, TriggerAccepted
from contracts.configs import CollectionConfig, ConfigChanged, ConfigRemoved
from contracts.ticks import TickDue, lane_of
from contracts.topics import CONFIG_CHANGES, TICKS
from contracts.vocabulary import Trigger
from runtime.failpoints import failpoint
from runtime.logs import log
from store.tables import config_timeframes, configs

_CLAIMED_BY: Final = frozenset({"exchange", "symbol", "timeframes"})


class Configs:
    """The verbs. `lanes` is the number of lanes by exchange id, one where it is not named."""

    def __init__(
        self, engine: AsyncEngine, catalogue: Catalogue, *, lanes: Mapping[str, int], run_deadline_seconds: int
    ) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._lanes = dict(lanes)
        self._run_deadline_seconds = run_deadline_seconds

    async def create(self, wanted: NewConfig, actor: Actor, now: datetime) -> Config:
        """Raises `InvalidInput`, `TimeframesTaken`."""
        require_offered(self._catalogue, wanted.exchange, wanted.timeframes)
        async with transaction(self._engine) as connection:
            values = {**wanted.model_dump(), "created_at": now, "updated_at": now}
            row = (await connection.execute(sa.insert(configs).values(values).returning(configs))).one()
            config = Config.model_validate(row)
            await _claim_timeframes(connection, config)
            await append(connection, [_changed(config, now)])
            await _audit(connection, actor, now, "config.create", after=config)
        failpoint("admin_api.after_commit")
        log.info("Config created", action="config_created", config_id=config.id, **_describe(config))
        return config

    async def update(self, config_id: int, changes: Mapping[str, Any], actor: Actor, now: datetime) -> Config:
        """Apply what differs; when nothing does, the version stays and nothing is announced.

        Raises `NotFound`, `InvalidInput`, `TimeframesTaken`.
        """
        async with transaction(self._engine) as connection:
            before = await _locked(connection, config_id)
            different = {name: value for name, value in changes.items() if getattr(before, name) != value}
            if not different:
                return before
            wanted = before.model_copy(update=different)
            if different.keys() & {"exchange", "timeframes"}:
                require_offered(self._catalogue, wanted.exchange, wanted.timeframes)
            values = {**different, "version": before.version + 1, "updated_at": now}
            change = sa.update(configs).where(configs.c.id == config_id).values(values).returning(configs)
            config = Config.model_validate((await connection.execute(change)).one())
            if different.keys() & _CLAIMED_BY:
                await connection.execute(sa.delete(config_timeframes).where(config_timeframes.c.config_id == config_id))
                await _claim_timeframes(connection, config)
            await append(connection, [_changed(config, now)])
            await _audit(connection, actor, now, _name(different), before=before, after=config)
        failpoint("admin_api.after_commit")
        log.info("Config changed", action="config_changed", config_id=config_id, changed=sorted(different))
        return config

    async def delete(self, config_id: int, actor: Actor, now: datetime) -> None:
        """Its logs and candles stay. Raises `NotFound`."""
        async with transaction(self._engine) as connection:
            config = await _locked(connection, config_id)
            await connection.execute(sa.delete(configs).where(configs.c.id == config_id))
            removed = ConfigRemoved(occurred_at=now, config_id=config_id, version=config.version + 1)
            await append(connection, [announcement(CONFIG_CHANGES, removed), tombstone(CONFIG_CHANGES, removed.key())])
            await _audit(connection, actor, now, "config.delete", before=config)
        failpoint("admin_api.after_commit")
        log.info("Config deleted", action="config_deleted", config_id=config_id, **_describe(config))

    async def trigger(self, config_id: int, actor: Actor, now: datetime) -> TriggerAccepted:
        """Ask for a run at once, also of a disabled config. Raises `NotFound`."""
        async with transaction(self._engine) as connection:
            config = await _found(connection, config_id)
            tick = TickDue(
                occurred_at=now,
                run_id=uuid4(),
                config=_snapshot(config),
                trigger=Trigger.MANUAL,
                scheduled_for=now,
                window_start=None,
                window_end=now,
                deadline_seconds=self._run_deadline_seconds,
                lane=lane_of(config.exchange, config_id, self._lanes),
            )
            await append(connection, [announcement(TICKS, tick)])
            await audit.record(
                connection,
                actor,
                now,
                action="config.trigger",
                object_type="config",
                object_id=str(config_id),
                after={"run_id": str(tick.run_id)},
            )
        failpoint("admin_api.after_commit")
        log.info("Run asked for", action="run_triggered", config_id=config_id, run_id=str(tick.run_id))
        return TriggerAccepted(run_id=tick.run_id, config_id=config_id, job_id=config.job_id, scheduled_for=now)

    async def get(self, config_id: int) -> Config:
        """Raises `NotFound`."""
        async with transaction(self._engine) as connection:
            return await _found(connection, config_id)

    async def page(
        self, *, enabled: bool | None, exchange: str | None, skip: int, limit: int
    ) -> tuple[list[Config], int]:
        """Configs by id, and how many the filters match in all."""
        matches: list[sa.ColumnElement[bool]] = []
        if enabled is not None:
            matches.append(configs.c.enabled.is_(enabled))
        if exchange is not None:
            matches.append(configs.c.exchange == exchange)
        page = sa.select(configs).where(*matches).order_by(configs.c.id).offset(skip).limit(limit)
        async with transaction(self._engine) as connection:
            rows = (await connection.execute(page)).all()
            total = await connection.scalar(sa.select(sa.func.count()).select_from(configs).where(*matches))
        return [Config.model_validate(row) for row in rows], total or 0


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
            await append(connection, [_changed(config, now) for config in found])
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
        await append(connection, [_changed(config, now) for config in found.values()])
        await append(connection, [tombstone(CONFIG_CHANGES, str(config_id)) for config_id in gone])


async def _found(connection: AsyncConnection, config_id: int) -> Config:
    return await _one(connection, config_id, sa.select(configs).where(configs.c.id == config_id))


async def _locked(connection: AsyncConnection, config_id: int) -> Config:
    """The config, nobody else changing it until we commit: so its versions and its outbox ids grow alike."""
    return await _one(connection, config_id, sa.select(configs).where(configs.c.id == config_id).with_for_update())


async def _one(connection: AsyncConnection, config_id: int, query: sa.Select[Any]) -> Config:
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound(f"There is no config {config_id}; GET /api/v1/admin/data-collection/configs lists them.")
    return Config.model_validate(row)


async def _claim_timeframes(connection: AsyncConnection, config: Config) -> None:
    """The primary key decides who collects a timeframe: of two at once, one waits for the other and then sees it.

    Sorted, so that two who want several of the same never wait for each other.
    """
    wanted = sorted(config.timeframes)
    rows = [
        {"exchange": config.exchange, "symbol": config.symbol, "timeframe": each, "config_id": config.id}
        for each in wanted
    ]
    claim = pg_insert(config_timeframes).values(rows).on_conflict_do_nothing().returning(config_timeframes.c.timeframe)
    claimed = set((await connection.execute(claim)).scalars())
    if taken := [each for each in wanted if each not in claimed]:
        raise await _explain_taken(connection, config, taken)


async def _explain_taken(connection: AsyncConnection, config: Config, taken: list[str]) -> TimeframesTaken:
    holders = sa.select(config_timeframes.c.config_id, config_timeframes.c.timeframe).where(
        config_timeframes.c.exchange == config.exchange,
        config_timeframes.c.symbol == config.symbol,
        config_timeframes.c.timeframe.in_(taken),
        config_timeframes.c.config_id != config.id,
    )
    by_config: dict[int, list[str]] = {}
    for holder, timeframe in (await connection.execute(holders.order_by(*config_timeframes.primary_key))).all():
        by_config.setdefault(holder, []).append(timeframe)
    series = f"{config.symbol} on {config.exchange}"
    if not by_config:  # it let go of them between our two statements
        return TimeframesTaken(f"Another config that collected {', '.join(taken)} of {series} is changing; try again.")
    conflicts = [{"config_id": holder, "timeframes": each} for holder, each in sorted(by_config.items())]
    said = "; ".join(
        f"config {holder} already collects {', '.join(each)}" for holder, each in sorted(by_config.items())
    )
    return TimeframesTaken(
        f"{said} of {series}. Leave these timeframes out, or change or delete that config.",
        extensions={**conflicts[0], "conflicts": conflicts},
    )


async def _audit(
    connection: AsyncConnection,
    actor: Actor,
    now: datetime,
    action: str,
    *,
    before: Config | None = None,
    after: Config | None = None,
) -> None:
    subject = after or before
    await audit.record(
        connection,
        actor,
        now,
        action=action,
        object_type="config",
        object_id=str(subject.id) if subject else None,
        before=before.model_dump(mode="json") if before else None,
        after=after.model_dump(mode="json") if after else None,
    )


def _name(different: Mapping[str, Any]) -> str:
    """Switching on or off has a name of its own, whichever endpoint did it."""
    if different.keys() == {"enabled"}:
        return "config.enable" if different["enabled"] else "config.disable"
    return "config.update"


def _snapshot(config: Config) -> CollectionConfig:
    return CollectionConfig(
        config_id=config.id,
        version=config.version,
        exchange=config.exchange,
        symbol=config.symbol,
        timeframes=tuple(config.timeframes),
        interval_minutes=config.interval_minutes,
        enabled=config.enabled,
        updated_at=config.updated_at,
    )


def _changed(config: Config, now: datetime) -> Announcement:
    return announcement(CONFIG_CHANGES, ConfigChanged(occurred_at=now, config=_snapshot(config)))


def _describe(config: Config) -> dict[str, str]:
    return {"exchange": config.exchange, "symbol": config.symbol, "timeframes": ",".join(config.timeframes)}
