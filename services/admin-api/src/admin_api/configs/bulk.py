"""Operations on many configs at once: a plan for each, then the writes as sets, all in the caller's transaction.

A plan tells failures from the rest before anything is written, so a failure needs no rollback and the writes need no
savepoint per config: a thousand configs are some ten statements.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from admin_api.configs.bulk_schemas import Action, BulkCreate, BulkItem, BulkResult, BulkSelection, BulkSummary
from admin_api.configs.claims import Series, holders, series_of, timeframes_taken
from admin_api.configs.manual_runs import ManualRuns
from admin_api.configs.repository import ConfigChange, not_found, write_configs
from admin_api.configs.schemas import Config, NewConfig
from admin_api.configs.selection import SelectedConfigs, select_configs
from admin_api.http.errors import ApiError, BulkRolledBack, InvalidInput, TimeframesTaken
from admin_api.http.exchange_catalogue import Catalogue, require_offered
from admin_api.http.problem_schemas import Problem
from admin_api.http.problems import response_of
from admin_api.http.request_cost import RequestCost
from admin_api.writes.unit_of_work import UnitOfWork

_ATTEMPTS: Final = 3
"""To create, while others take timeframes between our look and our claim."""


@dataclass(frozen=True)
class Bulk:
    """The actions on many configs. All of them raise `BulkRolledBack` if the selection is too large, or if one item of
    an all-or-nothing request fails. `path` is the request's, for the problems in the answer. Actions that start runs
    count in the caller's rate limit as one request per config. They raise `TooManyRequests` before anything is done.
    """

    catalogue: Catalogue
    manual_runs: ManualRuns

    async def create(self, work: UnitOfWork, wanted: BulkCreate, path: str, cost: RequestCost) -> BulkResult:
        """Earlier ones come first: where two of the list want the same timeframe, the later one fails."""
        refused, created = await self._create(work, wanted, cost)
        made = iter(created)
        items = []
        for index in range(len(wanted.configs)):
            if (error := refused.get(index)) is not None:
                items.append(_failed(index, None, error, path))
            elif (config := next(made, None)) is not None:
                items.append(BulkItem(index=index, outcome="done", config_id=config.id, version=config.version))
            else:
                items.append(BulkItem(index=index, outcome="would_be_done", config_id=None, version=None))
        return _result(work, "create", wanted, items)

    async def _create(
        self, work: UnitOfWork, wanted: BulkCreate, cost: RequestCost
    ) -> tuple[Mapping[int, ApiError], list[Config]]:
        attempt = 0
        while True:
            held = await holders(work.connection, {(each.exchange, each.symbol) for each in wanted.configs})
            refused = refusals(self.catalogue, wanted.configs, held)
            if wanted.dry_run or (wanted.atomic and refused):
                return refused, []
            accepted = [each for index, each in enumerate(wanted.configs) if index not in refused]
            if attempt == 0:
                cost.count_as(len(accepted))
            try:
                async with work.connection.begin_nested():
                    return refused, await write_configs(work, create=accepted)
            except TimeframesTaken:
                attempt += 1
                if attempt == _ATTEMPTS:
                    raise

    async def switch(
        self, work: UnitOfWork, selection: BulkSelection, path: str, cost: RequestCost, *, enabled: bool
    ) -> BulkResult:
        chosen = await select_configs(work.connection, selection)
        changes = {
            config.id: change
            for config in chosen.found
            if (change := ConfigChange.of(config, {"enabled": enabled}, work.now)) is not None
        }
        if _to_be_done(selection, chosen):
            if enabled:
                cost.count_as(len(changes))
            await write_configs(work, change=list(changes.values()))

        def become(index: int, config: Config) -> BulkItem:
            after = changes[config.id].after if config.id in changes and not selection.dry_run else config
            outcome = _done(selection) if config.id in changes else "unchanged"
            return BulkItem(index=index, outcome=outcome, config_id=config.id, version=after.version)

        action: Action = "enable" if enabled else "disable"
        return _result(work, action, selection, _items(chosen, become, path))

    async def trigger(self, work: UnitOfWork, selection: BulkSelection, path: str, cost: RequestCost) -> BulkResult:
        chosen = await select_configs(work.connection, selection)
        run_ids = {}
        if _to_be_done(selection, chosen):
            cost.count_as(len(chosen.found))
            run_ids = {each.config_id: each.run_id for each in await self.manual_runs.ask(work, chosen.found)}

        def become(index: int, config: Config) -> BulkItem:
            return BulkItem(
                index=index,
                outcome=_done(selection),
                config_id=config.id,
                version=config.version,
                run_id=run_ids.get(config.id),
            )

        return _result(work, "trigger", selection, _items(chosen, become, path))

    async def delete(self, work: UnitOfWork, selection: BulkSelection, path: str) -> BulkResult:
        chosen = await select_configs(work.connection, selection)
        if _to_be_done(selection, chosen):
            await write_configs(work, remove=chosen.found)

        def become(index: int, config: Config) -> BulkItem:
            version = config.version if selection.dry_run else None
            return BulkItem(index=index, outcome=_done(selection), config_id=config.id, version=version)

        return _result(work, "delete", selection, _items(chosen, become, path))


def refusals(
    catalogue: Catalogue, wanted: Sequence[NewConfig], held: Mapping[Series, int]
) -> dict[int, InvalidInput | TimeframesTaken]:
    """Which of these cannot be created, by their place, given which config holds which series."""
    refused: dict[int, InvalidInput | TimeframesTaken] = {}
    taken: dict[Series, int] = {}
    for index, each in enumerate(wanted):
        try:
            require_offered(catalogue, each.exchange, each.timeframes)
        except InvalidInput as error:
            refused[index] = error
            continue
        mine = series_of(each)
        by_config: dict[int, list[str]] = {}
        for series in mine:
            if series in held:
                by_config.setdefault(held[series], []).append(series[2])
        twins = sorted({taken[series] for series in mine if series in taken})
        if by_config:
            refused[index] = timeframes_taken(each.exchange, each.symbol, by_config)
        elif twins:
            refused[index] = TimeframesTaken(f"#/configs/{twins[0]} of this request collects some of it already.")
        else:
            taken.update(dict.fromkeys(mine, index))
    return refused


def _to_be_done(selection: BulkSelection, chosen: SelectedConfigs) -> bool:
    return not selection.dry_run and (chosen.all_found or not selection.atomic)


def _done(manner: BulkSelection) -> Literal["done", "would_be_done"]:
    return "would_be_done" if manner.dry_run else "done"


def _items(chosen: SelectedConfigs, become: Callable[[int, Config], BulkItem], path: str) -> list[BulkItem]:
    return [
        become(index, each) if isinstance(each, Config) else _failed(index, each, not_found(each), path)
        for index, each in enumerate(chosen.entries)
    ]


def _failed(index: int, config_id: int | None, error: ApiError, path: str) -> BulkItem:
    problem = Problem.model_validate_json(bytes(response_of(error, path).body))
    return BulkItem(index=index, outcome="failed", config_id=config_id, version=None, problem=problem)


def _result(work: UnitOfWork, action: Action, manner: BulkCreate | BulkSelection, items: list[BulkItem]) -> BulkResult:
    """Raises `BulkRolledBack`."""
    failed = [item for item in items if item.outcome == "failed"]
    if failed and manner.atomic and not manner.dry_run:
        raise BulkRolledBack(
            f"{len(failed)} of {len(items)} cannot be done, so none was, as `atomic` asks; `items` says which and why.",
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
        work.log_after_commit(
            "Configs changed together", action=f"configs_{action}", done=counts["done"], failed=counts["failed"]
        )
    return BulkResult(action=action, dry_run=manner.dry_run, atomic=manner.atomic, summary=summary, items=items)
