"""Selects and locks the configs of a bulk request."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.configs.bulk_schemas import MAX_ITEMS, BulkSelection, Selector
from admin_api.configs.schemas import Config
from admin_api.http.errors import BulkRolledBack
from store.tables import configs


@dataclass(frozen=True)
class SelectedConfigs:
    """The selected configs, in the order of the selector. An id that does not exist stays an id."""

    entries: Sequence[Config | int]

    @property
    def found(self) -> list[Config]:
        return [each for each in self.entries if isinstance(each, Config)]

    @property
    def all_found(self) -> bool:
        return len(self.found) == len(self.entries)


async def select_configs(connection: AsyncConnection, selection: BulkSelection) -> SelectedConfigs:
    """Selects the configs and locks them in the order of ids, so that concurrent requests cannot deadlock."""
    selector = selection.select
    query = sa.select(configs).where(*_matches(selector)).order_by(configs.c.id).limit(MAX_ITEMS + 1)
    if not selection.dry_run:
        query = query.with_for_update()
    rows = [Config.model_validate(row) for row in (await connection.execute(query)).all()]
    if len(rows) > MAX_ITEMS:
        count = await connection.scalar(sa.select(sa.func.count()).select_from(configs).where(*_matches(selector)))
        # Not `InvalidInput`: the same request is valid if fewer configs match.
        raise BulkRolledBack(
            f"The request selects {count} configs, and at most {MAX_ITEMS} can be changed at once; select fewer."
        )
    if selector.ids is None:
        return SelectedConfigs(rows)
    by_id = {config.id: config for config in rows}
    return SelectedConfigs([by_id.get(config_id, config_id) for config_id in selector.ids])


def _matches(selector: Selector) -> Iterable[sa.ColumnElement[bool]]:
    if selector.ids is not None:
        yield configs.c.id.in_(selector.ids)
    if selector.exchange is not None:
        yield configs.c.exchange == selector.exchange
    if selector.enabled is not None:
        yield configs.c.enabled.is_(selector.enabled)
    if selector.symbol is not None:
        parts = [part.replace("/", "//").replace("%", "/%").replace("_", "/_") for part in selector.symbol.split("*")]
        yield configs.c.symbol.like("%".join(parts), escape="/")
