"""Configs in the database: read and locked one by one, written as sets with all that belongs to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.configs.claims import claim, release
from admin_api.configs.schemas import Config, NewConfig
from admin_api.http.errors import NotFound
from admin_api.writes.audit_log import AuditRecord
from admin_api.writes.outbox import Announcement, announcement, tombstone
from admin_api.writes.unit_of_work import UnitOfWork
from contracts.configs import CollectionConfig, ConfigChanged, ConfigRemoved
from contracts.topics import CONFIG_CHANGES
from store.tables import configs

_CLAIMED_BY: Final = frozenset({"exchange", "symbol", "timeframes"})
_SETTABLE: Final = tuple(NewConfig.model_fields)


@dataclass(frozen=True)
class ConfigChange:
    """A config as it is, and as it shall be: the next version of it."""

    before: Config
    after: Config

    @classmethod
    def of(cls, before: Config, wanted: Mapping[str, Any], now: datetime) -> "ConfigChange | None":
        """None when nothing would change: then the version stays, and nothing is announced."""
        different = {name: value for name, value in wanted.items() if getattr(before, name) != value}
        if not different:
            return None
        return cls(before, before.model_copy(update={**different, "version": before.version + 1, "updated_at": now}))

    @property
    def fields(self) -> frozenset[str]:
        """The names of what changes."""
        return frozenset(name for name in _SETTABLE if getattr(self.before, name) != getattr(self.after, name))

    @property
    def moves_claims(self) -> bool:
        return bool(self.fields & _CLAIMED_BY)

    @property
    def action(self) -> str:
        """Switching on or off has a name of its own, whichever endpoint did it."""
        if self.fields == {"enabled"}:
            return "config.enable" if self.after.enabled else "config.disable"
        return "config.update"


def not_found(config_id: int) -> NotFound:
    return NotFound(f"There is no config {config_id}; GET /api/v1/admin/data-collection/configs lists them.")


async def get_config(connection: AsyncConnection, config_id: int) -> Config:
    """Raises `NotFound`."""
    return await _one(connection, config_id, sa.select(configs).where(configs.c.id == config_id))


async def lock_for_update(connection: AsyncConnection, config_id: int) -> Config:
    """The config, nobody else changing it until we commit: so its versions and its outbox ids grow alike.

    Raises `NotFound`.
    """
    return await _one(connection, config_id, sa.select(configs).where(configs.c.id == config_id).with_for_update())


async def _one(connection: AsyncConnection, config_id: int, query: sa.Select[Any]) -> Config:
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise not_found(config_id)
    return Config.model_validate(row)


async def write_configs(
    work: UnitOfWork,
    *,
    create: Sequence[NewConfig] = (),
    change: Sequence[ConfigChange] = (),
    remove: Sequence[Config] = (),
) -> list[Config]:
    """Do it, announce it and record it. What is changed or removed is locked by the caller; returns what was created,
    in order. Raises `TimeframesTaken`, and then the caller rolls back.
    """
    await _delete(work.connection, remove)
    await _update(work.connection, change)
    created = await _insert(work, create)
    moved = [each for each in change if each.moves_claims]
    await release(work.connection, [each.before.id for each in moved])
    await claim(work.connection, [*created, *(each.after for each in moved)])
    for config in remove:
        removed = ConfigRemoved(occurred_at=work.now, config_id=config.id, version=config.version + 1)
        work.announce(announcement(CONFIG_CHANGES, removed), tombstone(CONFIG_CHANGES, removed.key()))
        work.record(_deed("config.delete", config.id, before=config))
    for each in change:
        work.announce(change_announcement(each.after, work.now))
        work.record(_deed(each.action, each.after.id, before=each.before, after=each.after))
    for config in created:
        work.announce(change_announcement(config, work.now))
        work.record(_deed("config.create", config.id, after=config))
    return created


async def _delete(connection: AsyncConnection, some: Sequence[Config]) -> None:
    if some:
        await connection.execute(sa.delete(configs).where(configs.c.id.in_([config.id for config in some])))


async def _update(connection: AsyncConnection, changes: Sequence[ConfigChange]) -> None:
    names = (*_SETTABLE, "version", "updated_at")
    rows = [{"the_id": each.after.id, **each.after.model_dump(include=set(names))} for each in changes]
    if rows:
        values: dict[str, Any] = {name: sa.bindparam(name) for name in names}
        await connection.execute(sa.update(configs).where(configs.c.id == sa.bindparam("the_id")).values(values), rows)


async def _insert(work: UnitOfWork, wanted: Sequence[NewConfig]) -> list[Config]:
    if not wanted:
        return []
    rows = [{**each.model_dump(), "created_at": work.now, "updated_at": work.now} for each in wanted]
    insert = sa.insert(configs).returning(configs, sort_by_parameter_order=True)
    return [Config.model_validate(row) for row in (await work.connection.execute(insert, rows)).all()]


def _deed(action: str, config_id: int, *, before: Config | None = None, after: Config | None = None) -> AuditRecord:
    return AuditRecord(
        action=action,
        object_type="config",
        object_id=str(config_id),
        before=before.model_dump(mode="json") if before else None,
        after=after.model_dump(mode="json") if after else None,
    )


def snapshot(config: Config) -> CollectionConfig:
    """A config as other services know it."""
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


def change_announcement(config: Config, now: datetime) -> Announcement:
    return announcement(CONFIG_CHANGES, ConfigChanged(occurred_at=now, config=snapshot(config)))
