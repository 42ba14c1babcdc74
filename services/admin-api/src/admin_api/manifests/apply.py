"""Making the database say what a file says: the difference first, then all of it in one transaction, or nothing."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.configs.claims import claim_keys, timeframes_taken
from admin_api.configs.repository import ConfigChange, write_configs
from admin_api.configs.schemas import Config, NewConfig
from admin_api.http.errors import MAX_ERRORS, FieldError, InvalidInput, RemovalNotConfirmed
from admin_api.http.exchange_catalogue import Catalogue, require_offered
from admin_api.http.request_cost import RequestCost
from admin_api.manifests.diff import Diff, diff
from admin_api.manifests.parser import ParsedManifest
from admin_api.manifests.schemas import ApplyOptions, ApplyResult, ApplySummary, ConfigDifference, FieldChange, Value
from admin_api.writes.unit_of_work import UnitOfWork
from store.tables import configs


async def all_configs(connection: AsyncConnection) -> list[Config]:
    rows = await connection.execute(sa.select(configs).order_by(configs.c.id))
    return [Config.model_validate(row) for row in rows.all()]


@dataclass(frozen=True)
class ManifestApplier:
    """The verb."""

    catalogue: Catalogue

    async def apply(
        self, work: UnitOfWork, file: ParsedManifest, options: ApplyOptions, cost: RequestCost
    ) -> ApplyResult:
        """Raises `InvalidInput`, `TimeframesTaken`, `RemovalNotConfirmed`, `TooManyRequests`; then nothing was done.

        Each config that is created or enabled counts as a request, because its first run starts.
        """
        if not options.dry_run:
            # Reads go on; whoever changes a config waits, so what was compared is what is changed.
            await work.connection.execute(sa.text(f"LOCK TABLE {configs.name} IN EXCLUSIVE MODE"))
        existing = await all_configs(work.connection)
        different = diff(existing, file.configs, work.now)
        self._require_offered(different, file)
        if not options.remove:
            _require_free(different, file)
        needed = len(different.not_in_file) if 2 * len(different.not_in_file) > len(existing) else None
        created: list[Config] = []
        if not options.dry_run:
            _require_confirmed(different, options, needed, len(existing))
            changes = different.changed.values()
            enabled = [each for each in changes if each.after.enabled and not each.before.enabled]
            cost.count_as(len(different.added) + len(enabled))
            created = await write_configs(
                work,
                create=list(different.added.values()),
                change=list(different.changed.values()),
                remove=different.not_in_file if options.remove else (),
            )
        result = _result(different, created, options, needed)
        if not options.dry_run:
            work.log_after_commit(
                "A file of configs was applied", action="configs_applied", **result.summary.model_dump()
            )
        return result

    def _require_offered(self, different: Diff, file: ParsedManifest) -> None:
        """Only of what changes: what an exchange no longer offers may stay as it is."""
        asked: dict[int, NewConfig | Config] = dict(different.added)
        asked |= {index: each.after for index, each in different.changed.items() if each.changes_claims}
        errors: list[FieldError] = []
        for index, each in sorted(asked.items()):
            try:
                require_offered(self.catalogue, each.exchange, each.timeframes)
            except InvalidInput as error:
                prefix = f"#/configs/{index}"
                errors += [
                    FieldError(prefix + at.pointer[1:], f"{file.place(index)}: {at.detail}") for at in error.errors
                ]
        if errors:
            raise InvalidInput.of(errors[:MAX_ERRORS])


def _require_free(different: Diff, file: ParsedManifest) -> None:
    """What stays though it is not in the file keeps its timeframes."""
    holders = {series: config.id for config in different.not_in_file for series in claim_keys(config)}
    wanted: dict[int, NewConfig | Config] = dict(different.added)
    wanted |= {index: each.after for index, each in different.changed.items()}
    for index, each in sorted(wanted.items()):
        by_config: dict[int, list[str]] = {}
        for series in claim_keys(each):
            if series in holders:
                by_config.setdefault(holders[series], []).append(series[2])
        if by_config:
            taken = timeframes_taken(each.exchange, each.symbol, by_config)
            taken.detail = f"{file.place(index)}: {taken.detail} With remove=true configs that are not in the file go."
            raise taken


def _require_confirmed(different: Diff, options: ApplyOptions, needed: int | None, total: int) -> None:
    removals = len(different.not_in_file)
    if not options.remove or options.confirm_removals == removals:
        return
    if options.confirm_removals is not None or needed is not None:
        raise RemovalNotConfirmed(
            f"This removes {removals} of {total} configs. Look at the difference with dry_run=true, and if it is "
            f"meant, send confirm_removals={removals}.",
            extensions={"removals": removals, "total": total},
        )


def _result(different: Diff, created: list[Config], options: ApplyOptions, needed: int | None) -> ApplyResult:
    ids = iter(created)
    changes = [_added(entry, next(ids, None)) for entry in different.added.values()]
    changes += [_changed(each) for each in different.changed.values()]
    changes += [_elsewhere(config, options) for config in different.not_in_file]
    summary = ApplySummary(
        added=len(different.added),
        changed=len(different.changed),
        removed=len(different.not_in_file) if options.remove else 0,
        unchanged=len(different.unchanged),
        not_in_file=len(different.not_in_file),
    )
    return ApplyResult(dry_run=options.dry_run, summary=summary, confirmation_needed=needed, changes=changes)


def _added(entry: NewConfig, created: Config | None) -> ConfigDifference:
    values = entry.model_dump()
    return ConfigDifference(
        action="add",
        config_id=created.id if created else None,
        exchange=entry.exchange,
        symbol=entry.symbol,
        timeframes=entry.timeframes,
        fields=[_field(name, None, values[name]) for name in values],
    )


def _changed(change: ConfigChange) -> ConfigDifference:
    before, after = change.before, change.after
    return ConfigDifference(
        action="change",
        config_id=before.id,
        exchange=before.exchange,
        symbol=before.symbol,
        timeframes=before.timeframes,
        fields=[_field(name, getattr(before, name), getattr(after, name)) for name in sorted(change.fields)],
    )


def _elsewhere(config: Config, options: ApplyOptions) -> ConfigDifference:
    return ConfigDifference(
        action="remove" if options.remove else "keep",
        config_id=config.id,
        exchange=config.exchange,
        symbol=config.symbol,
        timeframes=config.timeframes,
        fields=[],
    )


def _field(name: str, before: Value, after: Value) -> FieldChange:
    return {"field": name, "from": before, "to": after}
