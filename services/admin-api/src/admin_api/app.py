"""What admin-api is made of. Building it connects to nothing."""

from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api import problems
from admin_api.access.assembly import assemble
from admin_api.access.roles import require_declared_roles
from admin_api.apply import Applying
from admin_api.bulk import Bulk
from admin_api.catalogue import load_catalogue
from admin_api.configs import Configs
from admin_api.description import completed
from admin_api.live.feed import LiveFeed
from admin_api.live.listening import Listeners
from admin_api.live.ring import Ring
from admin_api.manual_runs import ManualRunReleaser, ManualRuns
from admin_api.metrics import Metrics, look_at_outbox
from admin_api.middleware import surround
from admin_api.probe import DatabaseProbe, OncePerSecond
from admin_api.relay import Relay
from admin_api.routes import (
    audit,
    bulk,
    candles,
    config_changes,
    configs,
    events,
    manifest,
    operations,
    reports,
    runs,
    sessions,
    tokens,
)
from admin_api.settings import AdminApiSettings
from runtime.database import build_engine
from runtime.health import Health
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
    feed: LiveFeed
    releaser: ManualRunReleaser
    engine: AsyncEngine
    health: Health


def build(settings: AdminApiSettings) -> AdminApi:
    registry = new_registry()
    metrics = Metrics(registry)
    engine = build_engine(settings, application_name="admin-api")
    health = Health()
    probe = DatabaseProbe(engine)
    health.readiness("database", probe.problem)
    app = _build_fastapi()
    app.state.engine = engine
    manual_runs = ManualRuns(settings.exchange_lanes, settings.run_deadline_seconds)
    catalogue = load_catalogue()
    app.state.configs = Configs(engine, catalogue, manual_runs)
    app.state.bulk = Bulk(catalogue, manual_runs)
    app.state.applying = Applying(catalogue)
    app.state.health, app.state.database_probe = health, probe
    app.state.registry, app.state.metrics = registry, metrics
    # Apart from the probe: counting a long backlog must not make the process unready.
    app.state.look_at_outbox = OncePerSecond(lambda: look_at_outbox(engine, metrics))
    feed = LiveFeed(settings, metrics, Ring())
    app.state.listeners = Listeners(feed, metrics, settings.live_max_listeners)
    access = app.state.access = assemble(settings, engine, metrics)
    surround(app, settings, metrics, access)
    return AdminApi(
        settings=settings,
        app=app,
        relay=Relay(settings, metrics, engine),
        feed=feed,
        releaser=ManualRunReleaser(engine, manual_runs.hold_at_most),
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
        manifest,
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
    problems.install(app, routes)
    generate = app.openapi
    app.openapi = lambda: completed(generate())  # type: ignore[method-assign]  # FastAPI's documented way
    return app


def _operation_id(route: APIRoute) -> str:
    """The function's name: stable, and what generated clients call it."""
    return route.name
