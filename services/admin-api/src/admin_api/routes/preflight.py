"""The preflight of a config. It comes before `/{config_id}/…`, which matches the same path."""

from typing import Annotated

from fastapi import APIRouter, Query

from admin_api.configs.preflight import Preflight, PreflightQuery, preflight
from admin_api.configs.schemas import NewConfig
from admin_api.routes.api_route import ExpensiveRoute
from admin_api.routes.dependencies import PREFIX, EngineDep, Now, declared_token, needs, problems
from admin_api.routes.exchanges import CatalogueDep
from admin_api.writes.actors import Role

router = APIRouter(
    prefix=f"{PREFIX}/configs/preflight",
    tags=["configs"],
    dependencies=[declared_token, needs(Role.OPERATOR)],
    route_class=ExpensiveRoute,
)


@router.post("", responses=problems(409, 413, 415, 422), summary="Show the consequences of a config")
async def preflight_config(
    new_config: NewConfig,
    query: Annotated[PreflightQuery, Query()],
    engine: EngineDep,
    catalogue: CatalogueDep,
    now: Now,
) -> Preflight:
    """The body and the errors are the same as for creating a config. Creates and changes nothing."""
    return await preflight(engine, catalogue, new_config, now, config_id=query.config_id)
