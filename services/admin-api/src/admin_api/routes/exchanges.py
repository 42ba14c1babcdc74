"""The exchange catalogue."""

from hashlib import sha256
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, TypeAdapter

from admin_api.exchanges.schemas import Exchange, ExchangeDetails, ExchangeFilters
from admin_api.http.errors import NotFound
from admin_api.http.etags import EntityTags
from admin_api.http.exchange_catalogue import Catalogue
from admin_api.http.pagination import PAGE_HEADERS, Page, Total, send
from admin_api.routes.api_route import ApiRoute
from admin_api.routes.dependencies import PREFIX, Provided, declared_token, needs, problems
from admin_api.routes.writes import IfNoneMatch
from admin_api.writes.actors import Role

CATALOGUE: Final = Provided[Catalogue]("exchange catalogue")

router = APIRouter(
    prefix=f"{PREFIX}/exchanges",
    tags=["exchanges"],
    dependencies=[declared_token, needs(Role.VIEWER)],
    route_class=ApiRoute,
)
CatalogueDep = Annotated[Catalogue, Depends(CATALOGUE)]
_ExchangeId = Annotated[str, Path(max_length=40, description="ccxt's id of the exchange.", examples=["kraken"])]
_ETAG: Final[dict[str, Any]] = {
    "ETag": {"description": "Changes with the content. Send it as If-None-Match.", "schema": {"type": "string"}}
}
_NOT_MODIFIED: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "The content is still that of If-None-Match.", "headers": _ETAG}
}
_LIST: Final = TypeAdapter(list[Exchange])


@router.get(
    "",
    response_model=list[Exchange],
    responses={200: {"headers": {**PAGE_HEADERS, **_ETAG}}, **_NOT_MODIFIED, **problems(422)},
    summary="List the exchanges, by id",
)
async def list_exchanges(
    catalogue: CatalogueDep,
    filters: Annotated[ExchangeFilters, Query()],
    if_none_match: IfNoneMatch,
    request: Request,
) -> Response:
    """All exchanges that offer candles through ccxt, in one page. They change with a release or the settings."""
    found = [Exchange.of(catalogue, each) for each in sorted(catalogue.exchanges)]
    rows = [each for each in found if filters.allowed in {None, each.allowed}]
    response = _conditional(_LIST.dump_json(rows), if_none_match)
    send(Page(rows, Total(len(rows), exact=True), None), request, response)
    return response


@router.get(
    "/{exchange}",
    response_model=ExchangeDetails,
    responses={200: {"headers": _ETAG}, **_NOT_MODIFIED, **problems(404, 422)},
    summary="One exchange with its requests",
)
async def get_exchange(exchange: _ExchangeId, catalogue: CatalogueDep, if_none_match: IfNoneMatch) -> Response:
    """The requests for candles by kind of market, the candles that cannot be collected, and warnings."""
    if exchange not in catalogue.exchanges:
        raise NotFound(catalogue.unknown_exchange(exchange))
    return _conditional(_json(ExchangeDetails.of(catalogue, exchange)), if_none_match)


def _json(model: BaseModel) -> bytes:
    return model.model_dump_json().encode()


def _conditional(body: bytes, if_none_match: EntityTags | None) -> Response:
    """The body with its entity tag, or 304 if the caller has it already."""
    tag = f'"{sha256(body).hexdigest()[:16]}"'
    if if_none_match is not None and if_none_match.match_weakly(tag):
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, media_type="application/json", headers={"ETag": tag})
