"""What to collect."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field
from pydantic import ConfigDict as ModelConfig

from admin_api.actors import Role
from admin_api.fields import MAX_SKIP, FilterText
from admin_api.routes.shared import (
    PREFIX,
    TOTAL_HEADER,
    ActorDep,
    ConfigId,
    ConfigsDep,
    Now,
    declared_token,
    needs,
    problems,
)
from admin_api.schemas import Config, ConfigChanges, NewConfig, TriggerAccepted

router = APIRouter(prefix=f"{PREFIX}/configs", tags=["configs"], dependencies=[declared_token])
_viewer = [needs(Role.VIEWER)]
_operator = [needs(Role.OPERATOR)]
_admin = [needs(Role.ADMIN)]


class ConfigFilters(BaseModel):
    """The query of the list. Unknown parameters are refused."""

    model_config = ModelConfig(extra="forbid")

    enabled: bool | None = None
    exchange: FilterText | None = Field(default=None, examples=["binance"])
    skip: int = Field(default=0, ge=0, le=MAX_SKIP)
    limit: int = Field(default=100, ge=1, le=100)


@router.get(
    "",
    dependencies=_viewer,
    responses={200: {"headers": TOTAL_HEADER}, **problems(422)},
    summary="List the configs, by ascending id",
)
async def list_configs(
    configs: ConfigsDep, filters: Annotated[ConfigFilters, Query()], response: Response
) -> list[Config]:
    page, total = await configs.page(**dict(filters))
    response.headers["X-Total-Count"] = str(total)
    return page


@router.post("", status_code=201, dependencies=_admin, responses=problems(409, 413, 422), summary="Create a config")
async def create_config(
    wanted: NewConfig, configs: ConfigsDep, actor: ActorDep, now: Now, request: Request, response: Response
) -> Config:
    """Its job is scheduled by itself; the first run starts at once."""
    config = await configs.create(wanted, actor, now)
    response.headers["Location"] = request.app.url_path_for("get_config", config_id=config.id)
    return config


@router.get("/{config_id}", dependencies=_viewer, responses=problems(404, 422), summary="One config")
async def get_config(config_id: ConfigId, configs: ConfigsDep) -> Config:
    return await configs.get(config_id)


@router.put("/{config_id}", dependencies=_admin, responses=problems(404, 409, 413, 422), summary="Change a config")
async def update_config(
    config_id: ConfigId, changes: ConfigChanges, configs: ConfigsDep, actor: ActorDep, now: Now
) -> Config:
    """What is left out stays. A request that changes nothing leaves the version as it is."""
    return await configs.update(config_id, changes.named(), actor, now)


@router.delete(
    "/{config_id}", dependencies=_admin, status_code=204, responses=problems(404, 422), summary="Delete a config"
)
async def delete_config(config_id: ConfigId, configs: ConfigsDep, actor: ActorDep, now: Now) -> None:
    """Its job is removed; its logs and candles stay."""
    await configs.delete(config_id, actor, now)


@router.post(
    "/{config_id}/enable",
    dependencies=_operator,
    responses=problems(404, 422),
    summary="Enable a config and start its job",
)
async def enable_config(config_id: ConfigId, configs: ConfigsDep, actor: ActorDep, now: Now) -> Config:
    return await configs.update(config_id, {"enabled": True}, actor, now)


@router.post(
    "/{config_id}/disable",
    dependencies=_operator,
    responses=problems(404, 422),
    summary="Disable a config and stop its job",
)
async def disable_config(config_id: ConfigId, configs: ConfigsDep, actor: ActorDep, now: Now) -> Config:
    return await configs.update(config_id, {"enabled": False}, actor, now)


@router.post(
    "/{config_id}/trigger",
    dependencies=_operator,
    status_code=202,
    responses=problems(404, 422),
    summary="Collect at once",
)
async def trigger_config(config_id: ConfigId, configs: ConfigsDep, actor: ActorDep, now: Now) -> TriggerAccepted:
    """Also for a disabled config. The run appears in the execution logs under the answered `run_id`."""
    return await configs.trigger(config_id, actor, now)
