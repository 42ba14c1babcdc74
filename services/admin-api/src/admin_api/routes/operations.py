"""For orchestrators and Prometheus: no token, and never slow."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from runtime.lifecycle.health import health_body

router = APIRouter(tags=["operations"])

# Links are relative, so that they hold behind a proxy that adds a prefix.
_START_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Candlekeep admin API</title></head>
<body>
<h1>Candlekeep admin API</h1>
<p>This address serves an API. A program calls it with a token.</p>
<ul>
<li><a href="docs">Documentation of the API</a>, where each request can be tried</li>
<li><a href="openapi.json">OpenAPI description</a>, for programs</li>
<li><a href="health/ready">Readiness</a>: whether requests can be served</li>
<li><a href="health/live">Liveness</a>: whether the process works</li>
</ul>
</body>
</html>
"""


@router.get("/", include_in_schema=False, response_class=HTMLResponse)
async def start_page() -> str:
    """For people who open the address in a browser. The same for everybody: it tells nothing about the system."""
    return _START_PAGE


@router.get("/health/live", summary="Should this process be restarted?")
async def health_live(request: Request) -> Response:
    """Never depends on Kafka or Postgres."""
    status, body = health_body("live", request.app.state.health.live_problems())
    return Response(body, status, {"Cache-Control": "no-store"}, "application/json")


@router.get(
    "/health/ready",
    summary="Can requests be served?",
    responses={503: {"description": "Not now; the body says why.", "content": {"application/json": {"schema": {}}}}},
)
async def health_ready(request: Request) -> Response:
    """Whether the database answers. Kafka may be down: changes wait in the outbox, and the metrics show it."""
    await request.app.state.database_probe.look()
    status, body = health_body("ready", request.app.state.health.ready_problems())
    return Response(body, status, {"Cache-Control": "no-store"}, "application/json")


@router.get(
    "/metrics",
    summary="Prometheus' metrics",
    response_class=Response,
    responses={200: {"description": "Text.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """The outbox is looked at once a second at most, however often this is asked for."""
    await request.app.state.look_at_outbox()
    return Response(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)
