"""Routes for orchestrators and Prometheus. They need no token and are always fast."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Response
from fastapi.responses import HTMLResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from admin_api.database_check import DatabaseCheck, OncePerSecond
from admin_api.routes.dependencies import Provided
from runtime.lifecycle.health import Health, health_body

router = APIRouter(tags=["operations"])

HEALTH: Final = Provided[Health]("health checks")
DATABASE_CHECK: Final = Provided[DatabaseCheck]("database check")
OUTBOX_OBSERVER: Final = Provided[OncePerSecond]("outbox observer")
LOSS_OBSERVER: Final = Provided[OncePerSecond]("loss observer")
REGISTRY: Final = Provided[CollectorRegistry]("metrics registry")
HealthDep = Annotated[Health, Depends(HEALTH)]

# Links are relative, so that they also work behind a proxy that adds a prefix.
_START_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Candlekeep admin API</title></head>
<body>
<h1>Candlekeep admin API</h1>
<p>This address serves an API. A program calls it with a token. A browser gets the dashboard here, if it is built:
<code>make dashboard</code>.</p>
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
    """A page for people who open the address in a browser.

    It is always the same and contains nothing about the system.
    """
    return _START_PAGE


@router.get("/health/live", summary="Should this process be restarted?")
async def health_live(health: HealthDep) -> Response:
    """Does not depend on Kafka or Postgres."""
    status, body = health_body("live", health.live_problems())
    return Response(body, status, {"Cache-Control": "no-store"}, "application/json")


@router.get(
    "/health/ready",
    summary="Can requests be served?",
    responses={503: {"description": "Not ready. The body says why.", "content": {"application/json": {"schema": {}}}}},
)
async def health_ready(
    health: HealthDep, database_check: Annotated[DatabaseCheck, Depends(DATABASE_CHECK)]
) -> Response:
    """Whether the database answers. Kafka may be unavailable: changes wait in the outbox, and metrics show it."""
    await database_check.refresh()
    status, body = health_body("ready", health.ready_problems())
    return Response(body, status, {"Cache-Control": "no-store"}, "application/json")


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"description": "Text.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(
    observe_outbox: Annotated[OncePerSecond, Depends(OUTBOX_OBSERVER)],
    observe_losses: Annotated[OncePerSecond, Depends(LOSS_OBSERVER)],
    registry: Annotated[CollectorRegistry, Depends(REGISTRY)],
) -> Response:
    """The outbox is counted at most once a second, and losses every 30 s, no matter how many requests arrive."""
    await observe_outbox()
    await observe_losses()
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
