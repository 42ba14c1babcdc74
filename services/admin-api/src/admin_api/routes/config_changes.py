"""Routes that change one config."""

from fastapi import APIRouter, Request, Response

from admin_api.configs.schemas import Config, ConfigChanges, NewConfig, TriggerAccepted
from admin_api.http.etags import etag
from admin_api.http.stored_response import StoredResponse
from admin_api.routes.dependencies import PREFIX, ConfigId, ConfigServiceDep, declared_token, needs, problems
from admin_api.routes.writes import (
    ETAG_HEADER,
    REPLAYED_HEADER,
    ConfigRoute,
    IfMatch,
    KeyedWriteRequestDep,
    WriteRequestDep,
)
from admin_api.writes.actors import Role
from admin_api.writes.unit_of_work import UnitOfWork

router = APIRouter(prefix=f"{PREFIX}/configs", tags=["configs"], dependencies=[declared_token], route_class=ConfigRoute)
_operator = [needs(Role.OPERATOR)]
_admin = [needs(Role.ADMIN)]
_LOCATION = {"Location": {"description": "The path of the new config.", "schema": {"type": "string"}}}
_SWITCHED = {200: {"headers": {**ETAG_HEADER, **REPLAYED_HEADER}}, **problems(404, 409, 412, 422)}


@router.post(
    "",
    status_code=201,
    response_model=Config,
    dependencies=_admin,
    responses={201: {"headers": {**_LOCATION, **ETAG_HEADER, **REPLAYED_HEADER}}, **problems(409, 413, 415, 422)},
    summary="Create a config",
)
async def create_config(
    new_config: NewConfig, configs: ConfigServiceDep, write_request: KeyedWriteRequestDep, request: Request
) -> Response:
    """Its job is scheduled automatically. The first run starts at once."""

    async def operation(work: UnitOfWork) -> StoredResponse:
        config = await configs.create(work, new_config)
        location = request.app.url_path_for("get_config", config_id=config.id)
        return _config_response(config, 201).with_header("location", location)

    return await write_request.perform(operation)


@router.put(
    "/{config_id}",
    response_model=Config,
    dependencies=_admin,
    responses={200: {"headers": ETAG_HEADER}, **problems(404, 409, 412, 413, 415, 422)},
    summary="Change a config",
)
async def update_config(
    config_id: ConfigId,
    changes: ConfigChanges,
    configs: ConfigServiceDep,
    if_match: IfMatch,
    write_request: WriteRequestDep,
) -> Response:
    """Fields that are left out keep their values. If nothing changes, the version stays the same."""

    async def operation(work: UnitOfWork) -> StoredResponse:
        return _config_response(await configs.update(work, config_id, changes.named(), if_match))

    return await write_request.perform(operation)


@router.delete(
    "/{config_id}",
    dependencies=_admin,
    status_code=204,
    response_class=Response,
    responses=problems(404, 412, 422),
    summary="Delete a config",
)
async def delete_config(
    config_id: ConfigId, configs: ConfigServiceDep, if_match: IfMatch, write_request: WriteRequestDep
) -> Response:
    """Removes its job, but not its logs and candles."""

    async def operation(work: UnitOfWork) -> StoredResponse:
        await configs.delete(work, config_id, if_match)
        return StoredResponse(204, {}, b"")

    return await write_request.perform(operation)


@router.post(
    "/{config_id}/enable",
    response_model=Config,
    dependencies=_operator,
    responses=_SWITCHED,
    summary="Enable a config and start its job",
)
async def enable_config(
    config_id: ConfigId, configs: ConfigServiceDep, if_match: IfMatch, write_request: KeyedWriteRequestDep
) -> Response:
    async def operation(work: UnitOfWork) -> StoredResponse:
        return _config_response(await configs.update(work, config_id, {"enabled": True}, if_match))

    return await write_request.perform(operation)


@router.post(
    "/{config_id}/disable",
    response_model=Config,
    dependencies=_operator,
    responses=_SWITCHED,
    summary="Disable a config and stop its job",
)
async def disable_config(
    config_id: ConfigId, configs: ConfigServiceDep, if_match: IfMatch, write_request: KeyedWriteRequestDep
) -> Response:
    async def operation(work: UnitOfWork) -> StoredResponse:
        return _config_response(await configs.update(work, config_id, {"enabled": False}, if_match))

    return await write_request.perform(operation)


@router.post(
    "/{config_id}/trigger",
    response_model=TriggerAccepted,
    dependencies=_operator,
    status_code=202,
    responses={202: {"headers": REPLAYED_HEADER}, **problems(404, 409, 412, 422)},
    summary="Start a run",
)
async def trigger_config(
    config_id: ConfigId, configs: ConfigServiceDep, if_match: IfMatch, write_request: KeyedWriteRequestDep
) -> Response:
    """The config may be disabled. The run appears in the execution logs with the `run_id` of the response.

    If a run of the config is in progress, the new run waits and starts after it. Triggers that arrive while a run waits
    are answered with its `run_id`; a later trigger gets a new run. A manual run is never skipped.
    """

    async def operation(work: UnitOfWork) -> StoredResponse:
        return StoredResponse.of(await configs.trigger(work, config_id, if_match), 202)

    return await write_request.perform(operation)


def _config_response(config: Config, status: int = 200) -> StoredResponse:
    return StoredResponse.of(config, status, {"etag": etag(config.version)})
