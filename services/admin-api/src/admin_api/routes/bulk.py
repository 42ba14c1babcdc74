"""Routes that change many configs in one request. They come before `/{config_id}/…`, which matches the same paths."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from admin_api.configs.bulk import Bulk
from admin_api.configs.bulk_schemas import BulkCreate, BulkResult, BulkSelection
from admin_api.http.stored_response import StoredResponse
from admin_api.routes.api_route import ExpensiveRoute
from admin_api.routes.dependencies import PREFIX, Provided, declared_token, needs, problems
from admin_api.routes.writes import REPLAYED_HEADER, KeyedWriteRequestDep, WriteRequest
from admin_api.writes.actors import Role
from admin_api.writes.unit_of_work import UnitOfWork

router = APIRouter(
    prefix=f"{PREFIX}/configs/bulk", tags=["configs"], dependencies=[declared_token], route_class=ExpensiveRoute
)
_operator = [needs(Role.OPERATOR)]
_admin = [needs(Role.ADMIN)]
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"headers": REPLAYED_HEADER},
    **problems(409, 413, 415, 422),
}


BULK: Final = Provided[Bulk]("bulk operations")
BulkDep = Annotated[Bulk, Depends(BULK)]


async def _perform(write_request: WriteRequest, change: Callable[[UnitOfWork], Awaitable[BulkResult]]) -> Response:
    async def operation(work: UnitOfWork) -> StoredResponse:
        return StoredResponse.of(await change(work))

    return await write_request.perform(operation)


@router.post(
    "/create", response_model=BulkResult, dependencies=_admin, responses=_RESPONSES, summary="Create up to 1000 configs"
)
async def bulk_create_configs(
    request_body: BulkCreate, bulk: BulkDep, write_request: KeyedWriteRequestDep, request: Request
) -> Response:
    """Answers 200 with the result of each. With `atomic`, answers 409 if one of them cannot be created."""
    return await _perform(write_request, lambda work: bulk.create(work, request_body, request.url.path))


@router.post(
    "/enable", response_model=BulkResult, dependencies=_operator, responses=_RESPONSES, summary="Enable many configs"
)
async def bulk_enable_configs(
    selection: BulkSelection, bulk: BulkDep, write_request: KeyedWriteRequestDep, request: Request
) -> Response:
    return await _perform(write_request, lambda work: bulk.set_enabled(work, selection, request.url.path, enabled=True))


@router.post(
    "/disable", response_model=BulkResult, dependencies=_operator, responses=_RESPONSES, summary="Disable many configs"
)
async def bulk_disable_configs(
    selection: BulkSelection, bulk: BulkDep, write_request: KeyedWriteRequestDep, request: Request
) -> Response:
    return await _perform(
        write_request, lambda work: bulk.set_enabled(work, selection, request.url.path, enabled=False)
    )


@router.post(
    "/trigger",
    response_model=BulkResult,
    dependencies=_operator,
    responses=_RESPONSES,
    summary="Start runs of many configs",
)
async def bulk_trigger_configs(
    selection: BulkSelection, bulk: BulkDep, write_request: KeyedWriteRequestDep, request: Request
) -> Response:
    """Disabled configs are included. Each run appears in the execution logs with its `run_id`, and each counts in the
    rate limit for triggers.

    If a run of the config is in progress, the new run waits, as after `POST /configs/{config_id}/trigger`.
    """
    return await _perform(write_request, lambda work: bulk.trigger(work, selection, request.url.path))


@router.post(
    "/delete", response_model=BulkResult, dependencies=_admin, responses=_RESPONSES, summary="Delete many configs"
)
async def bulk_delete_configs(
    selection: BulkSelection, bulk: BulkDep, write_request: KeyedWriteRequestDep, request: Request
) -> Response:
    """Removes their jobs, but not their logs and candles."""
    return await _perform(write_request, lambda work: bulk.delete(work, selection, request.url.path))
