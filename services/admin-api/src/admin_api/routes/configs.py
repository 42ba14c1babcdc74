"""Routes that read configs."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from admin_api.configs.queries import ConfigFilters, page_of_configs
from admin_api.configs.schemas import Config
from admin_api.http.etags import etag
from admin_api.http.pagination import PAGE_HEADERS, send
from admin_api.http.stored_response import StoredResponse
from admin_api.routes.dependencies import PREFIX, ConfigId, ConfigServiceDep, EngineDep, declared_token, needs, problems
from admin_api.routes.writes import ETAG_HEADER, ConfigRoute, IfNoneMatch
from admin_api.writes.actors import Role

router = APIRouter(prefix=f"{PREFIX}/configs", tags=["configs"], dependencies=[declared_token], route_class=ConfigRoute)
_viewer = [needs(Role.VIEWER)]


@router.get(
    "",
    dependencies=_viewer,
    responses={200: {"headers": PAGE_HEADERS}, **problems(422)},
    summary="List the configs, by ascending id",
)
async def list_configs(
    engine: EngineDep, filters: Annotated[ConfigFilters, Query()], request: Request, response: Response
) -> list[Config]:
    """One page. The Link header contains the next one."""
    return send(await page_of_configs(engine, filters), request, response)


@router.get(
    "/{config_id}",
    response_model=Config,
    dependencies=_viewer,
    responses={
        200: {"headers": ETAG_HEADER},
        304: {
            "description": "The config and the state of its market are still those of If-None-Match.",
            "headers": ETAG_HEADER,
        },
        **problems(404, 422),
    },
    summary="One config",
)
async def get_config(config_id: ConfigId, configs: ConfigServiceDep, if_none_match: IfNoneMatch) -> Response:
    config = await configs.get(config_id)
    tag = etag(config.version, None if config.market is None else config.market.model_dump_json())
    if if_none_match is not None and if_none_match.match_weakly(tag):
        return Response(status_code=304, headers={"ETag": tag})
    return StoredResponse.of(config, headers={"ETag": tag}).response()
