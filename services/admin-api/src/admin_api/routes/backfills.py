"""Backfills: ranges of series to collect."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response

from admin_api.backfills.parts import (
    BackfillChunksQuery,
    BackfillSeriesQuery,
    page_of_backfill_chunks,
    page_of_backfill_series,
)
from admin_api.backfills.queries import BackfillFilters, get_details, page_of_backfills
from admin_api.backfills.schemas import Backfill, BackfillChunk, BackfillDetails, BackfillSeries, DryRun, NewBackfill
from admin_api.backfills.service import Action, change_state
from admin_api.backfills.service import create_backfill as create
from admin_api.http.etags import EntityTags, etag
from admin_api.http.input_types import RowId
from admin_api.http.pagination import PAGE_HEADERS, send
from admin_api.http.stored_response import StoredResponse
from admin_api.routes.api_route import ExpensiveRoute
from admin_api.routes.dependencies import PREFIX, EngineDep, Now, declared_token, needs, problems
from admin_api.routes.writes import ETAG_HEADER, REPLAYED_HEADER, IfMatch, KeyedWriteRequestDep, WriteRequest
from admin_api.writes.actors import Role
from admin_api.writes.unit_of_work import UnitOfWork

router = APIRouter(
    prefix=f"{PREFIX}/backfills", tags=["backfills"], dependencies=[declared_token], route_class=ExpensiveRoute
)
_viewer = [needs(Role.VIEWER)]
_operator = [needs(Role.OPERATOR)]
_BackfillId = Annotated[RowId, Path(description="The backfill's id.", examples=[1])]
_LOCATION = {"Location": {"description": "The path of the new backfill.", "schema": {"type": "string"}}}
_CREATED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": DryRun, "description": "The estimate of a dry run.", "headers": REPLAYED_HEADER},
    201: {"headers": {**_LOCATION, **ETAG_HEADER, **REPLAYED_HEADER}},
    **problems(404, 409, 413, 415, 422),
}
_CHANGED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"headers": {**ETAG_HEADER, **REPLAYED_HEADER}},
    **problems(404, 409, 412, 422),
}


@router.get(
    "",
    dependencies=_viewer,
    responses={200: {"headers": PAGE_HEADERS}, **problems(422)},
    summary="List the backfills, newest first",
)
async def list_backfills(
    engine: EngineDep, filters: Annotated[BackfillFilters, Query()], request: Request, response: Response
) -> list[Backfill]:
    """One page, without the progress of each."""
    return send(await page_of_backfills(engine, filters), request, response)


@router.post(
    "",
    status_code=201,
    response_model=Backfill,
    dependencies=_operator,
    responses=_CREATED,
    summary="Collect a range of the past",
)
async def create_backfill(new_backfill: NewBackfill, write_request: KeyedWriteRequestDep, request: Request) -> Response:
    """The backfiller requests what is missing, the newest time first, beside the scheduled runs.

    With `dry_run`, answers 200 with the estimate and creates nothing.
    """

    async def operation(work: UnitOfWork) -> StoredResponse:
        made = await create(work, new_backfill)
        if isinstance(made, DryRun):
            return StoredResponse.of(made)
        location = request.app.url_path_for("get_backfill", backfill_id=made.id)
        return _response(made, 201).with_header("location", location)

    return await write_request.perform(operation)


@router.get(
    "/{backfill_id}",
    dependencies=_viewer,
    responses={200: {"headers": ETAG_HEADER}, **problems(404, 422)},
    summary="One backfill with its progress",
)
async def get_backfill(backfill_id: _BackfillId, engine: EngineDep, now: Now, response: Response) -> BackfillDetails:
    """The ETag changes with the state, not with the progress."""
    details = await get_details(engine, backfill_id, now)
    response.headers["ETag"] = etag(details.version)
    return details


@router.get(
    "/{backfill_id}/series",
    dependencies=_viewer,
    responses={200: {"headers": PAGE_HEADERS}, **problems(404, 422)},
    summary="The series of a backfill, each with its progress",
)
async def list_backfill_series(
    backfill_id: _BackfillId,
    engine: EngineDep,
    query: Annotated[BackfillSeriesQuery, Query()],
    now: Now,
    request: Request,
    response: Response,
) -> list[BackfillSeries]:
    """One page. The Link header contains the next one."""
    return send(await page_of_backfill_series(engine, backfill_id, query, now), request, response)


@router.get(
    "/{backfill_id}/chunks",
    dependencies=_viewer,
    responses={200: {"headers": PAGE_HEADERS}, **problems(404, 422)},
    summary="The chunks of a backfill, each with its state and reason",
)
async def list_backfill_chunks(
    backfill_id: _BackfillId,
    engine: EngineDep,
    query: Annotated[BackfillChunksQuery, Query()],
    request: Request,
    response: Response,
) -> list[BackfillChunk]:
    """One page. The backfiller makes chunks while it works, so a young backfill has few."""
    return send(await page_of_backfill_chunks(engine, backfill_id, query), request, response)


@router.post(
    "/{backfill_id}/pause",
    response_model=Backfill,
    dependencies=_operator,
    responses=_CHANGED,
    summary="Pause a backfill",
)
async def pause_backfill(backfill_id: _BackfillId, if_match: IfMatch, write_request: KeyedWriteRequestDep) -> Response:
    """Requests in progress end. No others are sent until it is resumed."""
    return await _change(write_request, backfill_id, "pause", if_match)


@router.post(
    "/{backfill_id}/resume",
    response_model=Backfill,
    dependencies=_operator,
    responses=_CHANGED,
    summary="Resume a paused backfill",
)
async def resume_backfill(backfill_id: _BackfillId, if_match: IfMatch, write_request: KeyedWriteRequestDep) -> Response:
    return await _change(write_request, backfill_id, "resume", if_match)


@router.post(
    "/{backfill_id}/cancel",
    response_model=Backfill,
    dependencies=_operator,
    responses=_CHANGED,
    summary="Cancel a backfill for good",
)
async def cancel_backfill(backfill_id: _BackfillId, if_match: IfMatch, write_request: KeyedWriteRequestDep) -> Response:
    """Candles that were collected stay. A cancelled backfill cannot be resumed."""
    return await _change(write_request, backfill_id, "cancel", if_match)


async def _change(
    write_request: WriteRequest, backfill_id: int, action: Action, expected: EntityTags | None
) -> Response:
    async def operation(work: UnitOfWork) -> StoredResponse:
        return _response(await change_state(work, backfill_id, action, expected))

    return await write_request.perform(operation)


def _response(backfill: Backfill, status: int = 200) -> StoredResponse:
    return StoredResponse.of(backfill, status, {"etag": etag(backfill.version)})
