"""Applies a manifest: compares it with the database and makes all changes in one transaction, or none."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.configs.claims import claim_keys, timeframes_taken
from admin_api.configs.repository import ConfigChange, write_configs
from admin_api.configs.schemas import Config, NewConfig, warnings_about
from admin_api.configs.start_dates import require_not_future
from admin_api.http.errors import MAX_ERRORS, FieldError, InvalidInput, RemovalNotConfirmed
from admin_api.http.exchange_catalogue import Catalogue
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
    catalogue: Catalogue

    async def apply(self, work: UnitOfWork, file: ParsedManifest, options: ApplyOptions) -> ApplyResult:
        """Raises `InvalidInput`, `TimeframesTaken`, `RemovalNotConfirmed`, `TooManyRequests`; then nothing was changed.

        Each config that is created or enabled counts as a request in the rate limit.
        """
        if not options.dry_run:
            # Other changes of configs wait, so the rows do not change between the comparison and the write. Reads do
            # not wait.
            await work.connection.execute(sa.text(f"LOCK TABLE {configs.name} IN EXCLUSIVE MODE"))
        existing = await all_configs(work.connection)
        difference = diff(existing, file.configs, work.now)
        self._require_valid(difference, file, work.now)
        if not options.remove:
            _require_no_overlap(difference, file)
        confirmation_needed = len(difference.not_in_file) if 2 * len(difference.not_in_file) > len(existing) else None
        created: list[Config] = []
        if not options.dry_run:
            _require_confirmed(difference, options, confirmation_needed, len(existing))
            changes = difference.changed.values()
            enabled = [each for each in changes if each.after.enabled and not each.before.enabled]
            work.cost.count_requests(len(difference.added) + len(enabled))
            created = await write_configs(
                work,
                create=list(difference.added.values()),
                change=list(difference.changed.values()),
                remove=difference.not_in_file if options.remove else (),
            )
        result = _result(difference, created, options, confirmation_needed)
        if not options.dry_run:
            work.log_after_commit(
                "A manifest of configs was applied", action="configs_applied", **result.summary.model_dump()
            )
        return result

    def _require_valid(self, difference: Diff, file: ParsedManifest, now: datetime) -> None:
        """Check the changed entries. An unchanged config is allowed even if its exchange no longer offers its
        timeframes.
        """
        checked: dict[int, NewConfig | Config] = dict(difference.added)
        checked |= {
            index: each.after
            for index, each in difference.changed.items()
            if each.changes_claims or "start_date" in each.fields
        }
        errors: list[FieldError] = []
        for index, each in sorted(checked.items()):
            try:
                self.catalogue.require_collectable(each.exchange, each.symbol, each.timeframes)
                require_not_future(each.start_date, now)
            except InvalidInput as error:
                prefix = f"#/configs/{index}"
                errors += [
                    FieldError(prefix + at.pointer[1:], f"{file.place(index)}: {at.detail}") for at in error.errors
                ]
                if len(errors) >= MAX_ERRORS:
                    break
        if errors:
            raise InvalidInput.of(errors[:MAX_ERRORS])


def _require_no_overlap(difference: Diff, file: ParsedManifest) -> None:
    """Without `remove`, configs that are not in the file keep their timeframes. Refuse entries that collect one of
    these timeframes.
    """
    holders = {series: config.id for config in difference.not_in_file for series in claim_keys(config)}
    entries: dict[int, NewConfig | Config] = dict(difference.added)
    entries |= {index: each.after for index, each in difference.changed.items()}
    for index, each in sorted(entries.items()):
        by_config: dict[int, list[str]] = {}
        for series in claim_keys(each):
            if series in holders:
                by_config.setdefault(holders[series], []).append(series[2])
        if by_config:
            taken = timeframes_taken(each.exchange, each.symbol, by_config)
            taken.detail = (
                f"{file.place(index)}: {taken.detail} To remove configs that are not in the file, send remove=true."
            )
            raise taken


def _require_confirmed(difference: Diff, options: ApplyOptions, confirmation_needed: int | None, total: int) -> None:
    removals = len(difference.not_in_file)
    if not options.remove or options.confirm_removals == removals:
        return
    if options.confirm_removals is not None or confirmation_needed is not None:
        raise RemovalNotConfirmed(
            f"This removes {removals} of {total} configs. Check the difference with dry_run=true. If it is intended, "
            f"send confirm_removals={removals}.",
            extensions={"removals": removals, "total": total},
        )


def _result(
    difference: Diff, created: list[Config], options: ApplyOptions, confirmation_needed: int | None
) -> ApplyResult:
    created_configs = iter(created)
    changes = [_added(entry, next(created_configs, None)) for entry in difference.added.values()]
    changes += [_changed(each) for each in difference.changed.values()]
    changes += [_not_in_file(config, options) for config in difference.not_in_file]
    summary = ApplySummary(
        added=len(difference.added),
        changed=len(difference.changed),
        removed=len(difference.not_in_file) if options.remove else 0,
        unchanged=len(difference.unchanged),
        not_in_file=len(difference.not_in_file),
    )
    return ApplyResult(
        dry_run=options.dry_run, summary=summary, confirmation_needed=confirmation_needed, changes=changes
    )


def _added(entry: NewConfig, created: Config | None) -> ConfigDifference:
    values = entry.model_dump()
    return ConfigDifference(
        action="add",
        config_id=created.id if created else None,
        exchange=entry.exchange,
        symbol=entry.symbol,
        timeframes=entry.timeframes,
        fields=[_field(name, None, values[name]) for name in values],
        warnings=warnings_about(entry),
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
        warnings=after.warnings,
    )


def _not_in_file(config: Config, options: ApplyOptions) -> ConfigDifference:
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
