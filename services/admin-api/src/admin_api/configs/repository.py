"""Reads, locks and writes configs. Each write includes claims, outbox messages and audit entries."""

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
from contracts.ticks import initial_run_id
from contracts.topics import CONFIG_CHANGES
from store.tables import configs

_CLAIM_FIELDS: Final = frozenset({"exchange", "symbol", "timeframes"})
_SETTABLE: Final = tuple(NewConfig.model_fields)


@dataclass(frozen=True)
class ConfigChange:
    """A change of a config: the current version and the next version."""

    before: Config
    after: Config

    @classmethod
    def of(cls, before: Config, wanted: Mapping[str, Any], now: datetime) -> "ConfigChange | None":
        """The change from the current config to `wanted`. None if no value differs; then the version stays the same and
        no event is published.
        """
        different = {name: value for name, value in wanted.items() if getattr(before, name) != value}
        if not different:
            return None
        return cls(before, before.model_copy(update={**different, "version": before.version + 1, "updated_at": now}))

    @property
    def fields(self) -> frozenset[str]:
        """The names of the fields that change."""
        return frozenset(name for name in _SETTABLE if getattr(self.before, name) != getattr(self.after, name))

    @property
    def changes_claims(self) -> bool:
        return bool(self.fields & _CLAIM_FIELDS)

    @property
    def starts_a_run(self) -> bool:
        """Whether the scheduler starts an initial run: the config is enabled, or collects something new."""
        before, after = self.before, self.after
        same_market = (before.exchange, before.symbol) == (after.exchange, after.symbol)
        is_known = same_market and set(after.timeframes) <= set(before.timeframes)
        return after.enabled and not (before.enabled and is_known)

    @property
    def action(self) -> str:
        """The action for the audit log. Enabling or disabling a config is a separate action, for every endpoint."""
        if self.fields == {"enabled"}:
            return "config.enable" if self.after.enabled else "config.disable"
        return "config.update"


def not_found(config_id: int) -> NotFound:
    return NotFound(f"There is no config {config_id}; GET /api/v1/admin/data-collection/configs lists all configs.")


async def get_config(connection: AsyncConnection, config_id: int) -> Config:
    """Raises `NotFound`."""
    return await _fetch(connection, config_id, sa.select(configs).where(configs.c.id == config_id))


async def lock_for_update(connection: AsyncConnection, config_id: int) -> Config:
    """Lock the config's row until the commit. This keeps the outbox ids of a config's events in the order of its
    versions.

    Raises `NotFound`.
    """
    return await _fetch(connection, config_id, sa.select(configs).where(configs.c.id == config_id).with_for_update())


async def _fetch(connection: AsyncConnection, config_id: int, query: sa.Select[Any]) -> Config:
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise not_found(config_id)
    return Config.model_validate(row)


async def write_configs(
    unit: UnitOfWork,
    *,
    create: Sequence[NewConfig] = (),
    change: Sequence[ConfigChange] = (),
    remove: Sequence[Config] = (),
) -> list[Config]:
    """Write configs with their claims, events and audit entries. Returns the created configs, in order.

    The caller must have locked the configs in `change` and `remove`. Raises `TimeframesTaken`; then the caller must
    roll back. Raises `TooManyRequests` if the caller may not start the initial runs; then nothing was written.
    """
    unit.cost.count_runs(sum(each.enabled for each in create) + sum(each.starts_a_run for each in change))
    await _delete(unit.connection, remove)
    await _update(unit.connection, change)
    created = await _insert(unit, create)
    moved = [each for each in change if each.changes_claims]
    await release(unit.connection, [each.before.id for each in moved])
    await claim(unit.connection, [*created, *(each.after for each in moved)])
    for config in remove:
        removed = ConfigRemoved(occurred_at=unit.now, config_id=config.id, version=config.version + 1)
        unit.announce(announcement(CONFIG_CHANGES, removed), tombstone(CONFIG_CHANGES, removed.key()))
        unit.record(_audit_record("config.delete", config.id, before=config))
    for each in change:
        unit.announce(change_announcement(each.after, unit.now, starts_a_run=each.starts_a_run))
        unit.record(_audit_record(each.action, each.after.id, before=each.before, after=each.after))
    for config in created:
        unit.announce(change_announcement(config, unit.now, starts_a_run=config.enabled))
        unit.record(_audit_record("config.create", config.id, after=config))
    return created


async def _delete(connection: AsyncConnection, removed: Sequence[Config]) -> None:
    if removed:
        await connection.execute(sa.delete(configs).where(configs.c.id.in_([config.id for config in removed])))


async def _update(connection: AsyncConnection, changes: Sequence[ConfigChange]) -> None:
    names = (*_SETTABLE, "version", "updated_at")
    rows = [{"config_id": each.after.id, **each.after.model_dump(include=set(names))} for each in changes]
    if rows:
        values: dict[str, Any] = {name: sa.bindparam(name) for name in names}
        await connection.execute(
            sa.update(configs).where(configs.c.id == sa.bindparam("config_id")).values(values), rows
        )


async def _insert(unit: UnitOfWork, wanted: Sequence[NewConfig]) -> list[Config]:
    if not wanted:
        return []
    rows = [{**each.model_dump(), "created_at": unit.now, "updated_at": unit.now} for each in wanted]
    insert = sa.insert(configs).returning(configs, sort_by_parameter_order=True)
    return [Config.model_validate(row) for row in (await unit.connection.execute(insert, rows)).all()]


def _audit_record(
    action: str, config_id: int, *, before: Config | None = None, after: Config | None = None
) -> AuditRecord:
    return AuditRecord(
        action=action,
        object_type="config",
        object_id=str(config_id),
        before=before.model_dump(mode="json", exclude={"market"}) if before else None,
        after=after.model_dump(mode="json", exclude={"market"}) if after else None,
    )


def snapshot(config: Config) -> CollectionConfig:
    """The config as it appears in events."""
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


def change_announcement(
    config: Config, now: datetime, *, resynced: bool = False, starts_a_run: bool = False
) -> Announcement:
    """`starts_a_run`: the scheduler starts the initial run of this version."""
    changed = ConfigChanged(occurred_at=now, config=snapshot(config), resynced=resynced)
    return announcement(
        CONFIG_CHANGES, changed, starts=initial_run_id(config.id, config.version) if starts_a_run else None
    )
