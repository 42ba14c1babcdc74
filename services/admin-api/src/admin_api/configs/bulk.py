"""Operations on many configs, in the caller's transaction: first the checks of all items, then the writes.

All failures are known before the first write. So a failed item needs no rollback, and no item needs a savepoint: a
thousand configs need about ten statements.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from admin_api.configs.bulk_schemas import Action, BulkCreate, BulkItem, BulkResult, BulkSelection, BulkSummary
from admin_api.configs.claims import ClaimKey, claim_holders, claim_keys, timeframes_taken
from admin_api.configs.manual_runs import ManualRuns
from admin_api.configs.queries import SelectedConfigs, select_configs
from admin_api.configs.repository import ConfigChange, not_found, write_configs
from admin_api.configs.schemas import Config, NewConfig, warnings_about
from admin_api.configs.start_dates import require_not_future
from admin_api.http.errors import ApiError, BulkRolledBack, InvalidInput, TimeframesTaken
from admin_api.http.exchange_catalogue import Catalogue
from admin_api.http.problems import Problem, response_of
from admin_api.writes.unit_of_work import UnitOfWork

_ATTEMPTS: Final = 3
"""Attempts to create configs if other requests claim timeframes between the check and the write."""


@dataclass(frozen=True)
class Bulk:
    """The operations on many configs. `path` is the path of the request, for the problems in the result.

    All raise `BulkRolledBack` if the selection is too large, or if an item of an all-or-nothing request fails.
    In the caller's rate limit, `create` and `enable` count as one request per config. All operations also count the
    runs that they start. They raise `TooManyRequests` before the first write.
    """

    catalogue: Catalogue
    manual_runs: ManualRuns

    async def create(self, unit: UnitOfWork, wanted: BulkCreate, path: str) -> BulkResult:
        """Create configs. If two items of the list contain the same timeframe, the later one fails."""
        errors, created = await self._create(unit, wanted)
        made = iter(created)
        items = []
        for index in range(len(wanted.configs)):
            if (error := errors.get(index)) is not None:
                items.append(_failed(index, None, error, path))
            elif (config := next(made, None)) is not None:
                done = BulkItem(index=index, outcome="done", config_id=config.id, version=config.version)
                items.append(done.model_copy(update={"warnings": config.warnings}))
            else:
                warnings = warnings_about(wanted.configs[index])
                items.append(
                    BulkItem(index=index, outcome="would_be_done", config_id=None, version=None, warnings=warnings)
                )
        return _result(unit, "create", wanted, items)

    async def _create(self, unit: UnitOfWork, wanted: BulkCreate) -> tuple[Mapping[int, ApiError], list[Config]]:
        attempt = 0
        while True:
            held = await claim_holders(unit.connection, {(each.exchange, each.symbol) for each in wanted.configs})
            errors = creation_errors(self.catalogue, wanted.configs, held, unit.now)
            if wanted.dry_run or (wanted.atomic and errors):
                return errors, []
            accepted = [each for index, each in enumerate(wanted.configs) if index not in errors]
            unit.cost.count_requests(len(accepted))
            try:
                async with unit.connection.begin_nested():
                    return errors, await write_configs(unit, create=accepted)
            except TimeframesTaken:
                attempt += 1
                if attempt == _ATTEMPTS:
                    raise

    async def set_enabled(self, unit: UnitOfWork, selection: BulkSelection, path: str, *, enabled: bool) -> BulkResult:
        selected = await select_configs(unit.connection, selection)
        changes = {
            config.id: change
            for config in selected.found
            if (change := ConfigChange.of(config, {"enabled": enabled}, unit.now)) is not None
        }
        if _must_execute(selection, selected):
            if enabled:
                unit.cost.count_requests(len(changes))
            await write_configs(unit, change=list(changes.values()))

        def item_of(index: int, config: Config) -> BulkItem:
            after = changes[config.id].after if config.id in changes and not selection.dry_run else config
            outcome = _success_outcome(selection) if config.id in changes else "unchanged"
            return BulkItem(index=index, outcome=outcome, config_id=config.id, version=after.version)

        action: Action = "enable" if enabled else "disable"
        return _result(unit, action, selection, _items(selected, item_of, path))

    async def trigger(self, unit: UnitOfWork, selection: BulkSelection, path: str) -> BulkResult:
        selected = await select_configs(unit.connection, selection)
        run_ids = {}
        if _must_execute(selection, selected):
            run_ids = {each.config_id: each.run_id for each in await self.manual_runs.trigger(unit, selected.found)}

        def item_of(index: int, config: Config) -> BulkItem:
            return BulkItem(
                index=index,
                outcome=_success_outcome(selection),
                config_id=config.id,
                version=config.version,
                run_id=run_ids.get(config.id),
            )

        return _result(unit, "trigger", selection, _items(selected, item_of, path))

    async def delete(self, unit: UnitOfWork, selection: BulkSelection, path: str) -> BulkResult:
        selected = await select_configs(unit.connection, selection)
        if _must_execute(selection, selected):
            await write_configs(unit, remove=selected.found)

        def item_of(index: int, config: Config) -> BulkItem:
            version = config.version if selection.dry_run else None
            return BulkItem(index=index, outcome=_success_outcome(selection), config_id=config.id, version=version)

        return _result(unit, "delete", selection, _items(selected, item_of, path))


def creation_errors(
    catalogue: Catalogue, wanted: Sequence[NewConfig], held: Mapping[ClaimKey, int], now: datetime
) -> dict[int, InvalidInput | TimeframesTaken]:
    """The configs that cannot be created, by index in `wanted`. `held` are the existing claims and their configs."""
    errors: dict[int, InvalidInput | TimeframesTaken] = {}
    taken: dict[ClaimKey, int] = {}
    for index, each in enumerate(wanted):
        try:
            catalogue.require_collectable(each.exchange, each.symbol, each.timeframes)
            require_not_future(each.start_date, now)
        except InvalidInput as error:
            errors[index] = error
            continue
        mine = claim_keys(each)
        by_config: dict[int, list[str]] = {}
        for series in mine:
            if series in held:
                by_config.setdefault(held[series], []).append(series[2])
        duplicates = sorted({taken[series] for series in mine if series in taken})
        if by_config:
            errors[index] = timeframes_taken(each.exchange, each.symbol, by_config)
        elif duplicates:
            errors[index] = TimeframesTaken(
                f"#/configs/{duplicates[0]} of this request already collects one of these timeframes."
            )
        else:
            taken.update(dict.fromkeys(mine, index))
    return errors


def _must_execute(selection: BulkSelection, selected: SelectedConfigs) -> bool:
    return not selection.dry_run and (selected.all_found or not selection.atomic)


def _success_outcome(options: BulkSelection) -> Literal["done", "would_be_done"]:
    return "would_be_done" if options.dry_run else "done"


def _items(selected: SelectedConfigs, item_of: Callable[[int, Config], BulkItem], path: str) -> list[BulkItem]:
    return [
        item_of(index, each) if isinstance(each, Config) else _failed(index, each, not_found(each), path)
        for index, each in enumerate(selected.entries)
    ]


def _failed(index: int, config_id: int | None, error: ApiError, path: str) -> BulkItem:
    problem = Problem.model_validate_json(bytes(response_of(error, path).body))
    return BulkItem(index=index, outcome="failed", config_id=config_id, version=None, problem=problem)


def _result(unit: UnitOfWork, action: Action, options: BulkCreate | BulkSelection, items: list[BulkItem]) -> BulkResult:
    """The result of all items. Raises `BulkRolledBack` if `atomic` is set and an item failed."""
    failed = [item for item in items if item.outcome == "failed"]
    if failed and options.atomic and not options.dry_run:
        raise BulkRolledBack(
            f"{len(failed)} of {len(items)} items failed, so no item was done, because `atomic` is set; see `items`.",
            extensions={"items": [item.model_dump(mode="json") for item in failed]},
        )
    counts = Counter(item.outcome for item in items)
    summary = BulkSummary(
        total=len(items),
        done=counts["done"],
        would_be_done=counts["would_be_done"],
        unchanged=counts["unchanged"],
        failed=counts["failed"],
    )
    if counts["done"]:
        unit.log_after_commit(
            "Bulk operation on configs done", action=f"configs_{action}", done=counts["done"], failed=counts["failed"]
        )
    return BulkResult(action=action, dry_run=options.dry_run, atomic=options.atomic, summary=summary, items=items)
