"""What admin-api is made of. Building it connects to nothing."""

from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.api_description import complete_description
from admin_api.auth.assembly import assemble
from admin_api.auth.required_roles import require_declared_roles
from admin_api.configs.bulk import Bulk
from admin_api.configs.manual_runs import ManualRunReleaser, ManualRuns
from admin_api.configs.service import ConfigService
from admin_api.database_check import DatabaseCheck, OncePerSecond
from admin_api.events.buffer import EventBuffer
from admin_api.events.feed import EventFeed
from admin_api.events.stream import EventStreams
from admin_api.http import problems
from admin_api.http.exchange_catalogue import load_catalogue
from admin_api.manifests.apply import ManifestApplier
from admin_api.metrics import Metrics, observe_outbox
from admin_api.middleware.stack import add_middleware
from admin_api.relay.relay import Relay
from admin_api.routes import (
    audit,
    bulk,
    candles,
    config_changes,
    configs,
    events,
    manifests,
    operations,
    reports,
    runs,
    sessions,
    tokens,
)
from admin_api.settings import AdminApiSettings
from runtime.database import build_engine
from runtime.lifecycle.health import Health
from runtime.metrics import new_registry

_DESCRIPTION = """What to collect, what ran, and the candles.

Press *Authorize* and give an API token, or the value of `CANDLEKEEP_ADMIN_TOKEN`. Errors are RFC 9457 problems whose
`detail` says what to change. Times are UTC.
"""


@dataclass(frozen=True, kw_only=True)
class AdminApi:
    """The parts that have a life: the HTTP application, what runs in the background beside it, and the engine."""

    settings: AdminApiSettings
    app: FastAPI
    relay: Relay
    feed: EventFeed
    releaser: ManualRunReleaser
    engine: AsyncEngine
    health: Health


def build_api(settings: AdminApiSettings) -> AdminApi:
    registry = new_registry()
    metrics = Metrics(registry)
    engine = build_engine(settings, application_name="admin-api")
    health = Health()
    probe = DatabaseCheck(engine)
    health.readiness("database", probe.problem)
    app = _build_fastapi()
    app.state.engine = engine
    manual_runs = ManualRuns(settings.exchange_lanes, settings.run_deadline_seconds)
    catalogue = load_catalogue()
    app.state.configs = ConfigService(engine, catalogue, manual_runs)
    app.state.bulk = Bulk(catalogue, manual_runs)
    app.state.applying = ManifestApplier(catalogue)
    app.state.health, app.state.database_probe = health, probe
    app.state.registry, app.state.metrics = registry, metrics
    # Apart from the probe: counting a long backlog must not make the process unready.
    app.state.look_at_outbox = OncePerSecond(lambda: observe_outbox(engine, metrics))
    feed = EventFeed(settings, metrics, EventBuffer())
    app.state.event_streams = EventStreams(feed, metrics, settings.max_event_streams)
    access = app.state.access = assemble(settings, engine, metrics)
    add_middleware(app, settings, metrics, access)
    return AdminApi(
        settings=settings,
        app=app,
        relay=Relay(settings, metrics, engine),
        feed=feed,
        releaser=ManualRunReleaser(engine, manual_runs.max_hold),
        engine=engine,
        health=health,
    )


def _build_fastapi() -> FastAPI:
    # FastAPI's own documentation page loads its scripts from a CDN, which a closed network does not reach.
    app = FastAPIOffline(
        static_url="/docs/static",
        title="Candlekeep admin API",
        version="1.0.0",
        description=_DESCRIPTION,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat whatever Host the request named
        generate_unique_id_function=_operation_id,
        swagger_ui_parameters={"persistAuthorization": True},
    )
    parts = (
        bulk,
        manifests,
        configs,
        config_changes,
        runs,
        reports,
        candles,
        events,
        tokens,
        sessions,
        audit,
        operations,
    )
    routers = [part.router for part in parts]
    routes = [route for router in routers for route in router.routes]
    require_declared_roles(routes)
    for router in routers:
        app.include_router(router)
    problems.install_error_handlers(app, routes)
    generate = app.openapi
    app.openapi = lambda: complete_description(generate())  # type: ignore[method-assign]  # FastAPI's documented way
    return app


def _operation_id(route: APIRoute) -> str:
    """The function's name: stable, and what generated clients call it."""
    return route.name
