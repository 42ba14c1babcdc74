"""Export of all configs to a file, and import from a file."""

from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from admin_api.configs.schemas import NewConfig
from admin_api.http.background_work import in_background, parts_in_background
from admin_api.http.content_negotiation import VARY, preferred
from admin_api.http.input_types import Input
from admin_api.http.stored_response import StoredResponse
from admin_api.manifests.apply import ManifestApplier
from admin_api.manifests.format import Manifest, json_parts, yaml_parts
from admin_api.manifests.parser import JSON, YAML, YAML_NAMES, parse_manifest
from admin_api.manifests.schemas import ApplyQuery, ApplyResult
from admin_api.routes.api_route import ExpensiveRoute
from admin_api.routes.dependencies import PREFIX, EngineDep, Provided, declared_token, needs, problems
from admin_api.routes.writes import REPLAYED_HEADER, KeyedWriteRequestDep
from admin_api.writes.actors import Role
from admin_api.writes.transactions import reading
from admin_api.writes.unit_of_work import UnitOfWork
from store.tables import configs

router = APIRouter(
    prefix=f"{PREFIX}/configs", tags=["configs"], dependencies=[declared_token], route_class=ExpensiveRoute
)

_SCHEMA: Final = {"$ref": f"#/components/schemas/{Manifest.__name__}"}
_EXAMPLE: Final = """\
version: 1
configs:
- exchange: binance
  symbol: BTC/USDT
  timeframes: [1m, 5m, 1h, 1d]
  interval_minutes: 10
  enabled: true
  description: Bitcoin data
"""
_EXPORTED: Final = [configs.c[name] for name in NewConfig.model_fields]
_BATCH: Final = 500
"""The number of rows that are converted at once. The event loop does nothing else during this time."""
_CONTENT: Final[dict[str, Any]] = {YAML: {"schema": _SCHEMA, "example": _EXAMPLE}, JSON: {"schema": _SCHEMA}}


MANIFEST_APPLIER: Final = Provided[ManifestApplier]("manifest applier")
ManifestApplierDep = Annotated[ManifestApplier, Depends(MANIFEST_APPLIER)]


class ExportOptions(Input):
    """The query of export. Unknown parameters are refused."""

    format: Literal["yaml", "json"] | None = Field(default=None, description="Takes precedence over the Accept header.")


@router.get(
    "/export",
    dependencies=[needs(Role.VIEWER)],
    response_class=Response,
    responses={200: {"description": "The file.", "content": _CONTENT}, **problems(422)},
    summary="All configs as a file",
)
async def export_configs(
    engine: EngineDep,
    options: Annotated[ExportOptions, Query()],
    accept: Annotated[
        str | None, Header(description="application/json for JSON; YAML otherwise.", max_length=1000)
    ] = None,
) -> Response:
    """YAML, or JSON if `format` or the Accept header says so. The order depends only on the configs, so that the file
    can be stored in git.
    """
    as_json = options.format == "json" or (
        options.format is None and preferred(accept or "", (*YAML_NAMES, JSON)) == JSON
    )
    # A slow reader holds no connection to the database, because the rows are read before the response begins.
    async with reading(engine) as connection:
        found = await connection.stream(sa.select(*_EXPORTED))
        rows = [row async for batch in found.partitions(_BATCH) for row in batch]
    parts, kind, name = (
        (json_parts(rows), JSON, "configs.json") if as_json else (yaml_parts(rows), YAML, "configs.yaml")
    )
    headers = {"Content-Disposition": f'inline; filename="{name}"', **VARY}
    return StreamingResponse(parts_in_background(parts), media_type=kind, headers=headers)


@router.post(
    "/apply",
    response_model=ApplyResult,
    dependencies=[needs(Role.ADMIN)],
    responses={200: {"headers": REPLAYED_HEADER}, **problems(409, 413, 415, 422)},
    openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
    summary="Change the configs to those of a file",
)
async def apply_configs(
    request: Request,
    applier: ManifestApplierDep,
    options: ApplyQuery,
    write_request: KeyedWriteRequestDep,
) -> Response:
    """Creates missing configs, changes those that differ and, with `remove=true`, removes those that are not in the
    file. All changes are one transaction. With `dry_run=true`, the response is the same and nothing is changed.
    """
    file = await in_background(parse_manifest, await request.body(), request.headers.get("content-type", ""))

    async def operation(work: UnitOfWork) -> StoredResponse:
        return StoredResponse.of(await applier.apply(work, file, options))

    return await write_request.perform(operation)
