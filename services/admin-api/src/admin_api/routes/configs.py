"""What to collect."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from pydantic import ConfigDict as ModelConfig

from admin_api.actors import Role
from admin_api.answers import Answer
from admin_api.fields import MAX_SKIP, FilterText
from admin_api.preconditions import etag
from admin_api.routes.shared import (
    PREFIX,
    TOTAL_HEADER,
    ConfigId,
    ConfigsDep,
    declared_token,
    needs,
    problems,
)
from admin_api.routes.writing import ETAG_HEADER, ConfigRoute, IfNoneMatch
from admin_api.schemas import Config

router = APIRouter(prefix=f"{PREFIX}/configs", tags=["configs"], dependencies=[declared_token], route_class=ConfigRoute)
_viewer = [needs(Role.VIEWER)]


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


@router.get(
    "/{config_id}",
    response_model=Config,
    dependencies=_viewer,
    responses={
        200: {"headers": ETAG_HEADER},
        304: {"description": "It is still at the version of If-None-Match.", "headers": ETAG_HEADER},
        **problems(404, 422),
    },
    summary="One config",
)
async def get_config(config_id: ConfigId, configs: ConfigsDep, if_none_match: IfNoneMatch) -> Response:
    config = await configs.get(config_id)
    tag = etag(config.version)
    if if_none_match is not None and if_none_match.match_weakly(tag):
        return Response(status_code=304, headers={"ETag": tag})
    return Answer.of(config, headers={"ETag": tag}).response()
