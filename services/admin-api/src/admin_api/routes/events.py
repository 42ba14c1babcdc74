"""The stream of events."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import Field

from admin_api.events.response import EventStreamResponse
from admin_api.events.stream import EventFilter, EventStream, EventStreams
from admin_api.events.topics import Kind
from admin_api.http.input_types import FilterText, Input, QueryInteger, RowId
from admin_api.routes.api_route import ApiRoute
from admin_api.routes.dependencies import PREFIX, ActorDep, Provided, declared_token, needs, problems
from admin_api.writes.actors import Role

router = APIRouter(prefix=PREFIX, tags=["events"], dependencies=[declared_token], route_class=ApiRoute)

_MAX_SECONDS: Final = 300
_STREAM: Final[dict[str, Any]] = {
    "description": "A stream of server-sent events.",
    "content": {
        "text/event-stream": {
            "itemSchema": {
                "type": "object",
                "properties": {
                    "data": {"type": "string"},
                    "event": {"type": "string"},
                    "id": {"type": "string"},
                    "retry": {"type": "integer", "minimum": 0},
                },
            },
            "examples": {
                "a run has ended": {
                    "value": 'event: run\nid: x5oBAgAD…\ndata: {"type":"RunFinished","config_id":1,…}\n\n'
                }
            },
        }
    },
}


class EventsQuery(Input):
    """The query of the stream. Unknown parameters are refused."""

    kind: list[Kind] = Field(
        default=[],
        max_length=len(Kind),
        description="Only events of this kind. Repeat the parameter for several kinds.",
        examples=[["run", "exchange"]],
    )
    exchange: FilterText | None = Field(default=None, examples=["binance"])
    config_id: RowId | None = Field(
        default=None, description="Only events of this config; without events of exchanges and backfills."
    )
    seconds: QueryInteger = Field(
        default=_MAX_SECONDS, ge=1, le=_MAX_SECONDS, description="The stream ends after this time, in seconds."
    )


EVENT_STREAMS: Final = Provided[EventStreams]("event streams")


async def _admitted(
    event_streams: Annotated[EventStreams, Depends(EVENT_STREAMS)],
    actor: ActorDep,
    query: Annotated[EventsQuery, Query()],
    last_event_id: Annotated[
        str | None, Header(max_length=2000, description="Resume after the event with this id.")
    ] = None,
) -> AsyncIterator[EventStream]:
    event_filter = EventFilter(kinds=frozenset(query.kind) or None, exchange=query.exchange, config_id=query.config_id)
    with event_streams.admitted(actor.key, event_filter, last_event_id) as event_stream:
        yield event_stream


@router.get(
    "/events",
    response_class=Response,
    responses={200: _STREAM, **problems(422)},
    dependencies=[needs(Role.VIEWER)],
    summary="Stream events of runs, configs, jobs, exchanges and backfills",
)
async def stream_events(
    event_stream: Annotated[EventStream, Depends(_admitted)], query: Annotated[EventsQuery, Query()]
) -> EventStreamResponse:
    """Server-sent events named `run`, `config`, `job`, `exchange` and `backfill`. Their data is the event as it is in
    Kafka, which `docs/events.md` describes. A new stream first sends the state of each exchange, then new events.

    Events of a backfill say that it was created, paused, resumed or cancelled, and report its progress: at most once a
    second while its chunks end, and once more when it is whole. A filter by exchange does not leave them out.

    A stream ends after five minutes at most. Connect again with the header `Last-Event-ID`, as browsers do
    automatically: no event is missed or repeated, at any instance. An event `reset` says that events were missed: they
    are too old, a topic in Kafka was created again, or the id is ahead of the topics. Then read the state from the
    other endpoints, and continue to read the stream.
    """
    return EventStreamResponse(event_stream, query.seconds)
