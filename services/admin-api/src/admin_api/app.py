"""Builds all parts of admin-api and connects them."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.routing import BaseRoute

from admin_api.api_description import serve_description
from admin_api.auth.assembly import AuthComponents, assemble
from admin_api.auth.refusal_audit import RefusalAudit
from admin_api.auth.required_roles import require_declared_roles
from admin_api.auth.shared_lookup import QUERIES_AT_ONCE
from admin_api.configs.bulk import Bulk
from admin_api.configs.manual_runs import ManualRunReleaser, ManualRuns
from admin_api.configs.service import ConfigService
from admin_api.coverage.loss_metrics import INTERVAL_SECONDS, observe_losses
from admin_api.database_check import DatabaseCheck, OncePerSecond
from admin_api.events.buffer import EventBuffer
from admin_api.events.feed import EventFeed
from admin_api.events.stream import EventStreams
from admin_api.http import problems
from admin_api.http.exchange_catalogue import load_catalogue
from admin_api.http.expensive_requests import ExpensiveRequests
from admin_api.manifests.apply import ManifestApplier
from admin_api.metrics import Metrics, observe_outbox
from admin_api.middleware.stack import add_middleware
from admin_api.notifications.notifier import Notifier
from admin_api.relay.relay import Relay
from admin_api.routes import (
    api_route,
    audit,
    backfills,
    bulk,
    candles,
    completeness,
    config_changes,
    configs,
    coverage,
    dependencies,
    documentation,
    events,
    exchanges,
    incidents,
    manifests,
    operations,
    preflight,
    reports,
    runs,
    services,
    sessions,
    tokens,
)
from admin_api.services.groups import read_groups
from admin_api.services.monitor import ServiceMonitor
from admin_api.settings import AdminApiSettings
from runtime.database import build_engine
from runtime.lifecycle.background import Background
from runtime.lifecycle.health import Health
from runtime.metrics import new_registry
from runtime.process.worker import Worker
from store.schema import using_current

NAME = "admin-api"
_RESERVED_CONNECTIONS: Final = 2 * QUERIES_AT_ONCE
"""The number of connections that are reserved for the look-ups of tokens and of sessions."""

_DESCRIPTION = """What to collect, what ran, and the candles.

Press *Authorize* and give an API token, or the value of `CANDLEKEEP_ADMIN_TOKEN`. Errors are RFC 9457 problems whose
`detail` says what to change. Times are UTC.
"""


@dataclass(frozen=True, kw_only=True)
class AdminApi:
    """The HTTP application, the background tasks beside it, and the parts that they share."""

    settings: AdminApiSettings
    app: FastAPI
    routes: tuple[BaseRoute, ...]
    relay: Relay
    feed: EventFeed
    releaser: ManualRunReleaser
    refusals: RefusalAudit
    notifier: Notifier | None
    """None if no receivers are configured."""
    engine: AsyncEngine
    reserved_engine: AsyncEngine
    """The connections for authentication and health. No other request can use them up."""
    health: Health
    registry: CollectorRegistry
    metrics: Metrics
    event_streams: EventStreams
    database_check: DatabaseCheck
    outbox_observer: OncePerSecond
    loss_observer: OncePerSecond
    services: ServiceMonitor

    async def close(self) -> None:
        """Close the connections to the database."""
        await self.engine.dispose()
        await self.reserved_engine.dispose()


def build_worker(settings: AdminApiSettings) -> Worker:
    """Build the whole service. This opens no connection. The service does not wait for Kafka at its start: changes wait
    in the outbox.
    """
    api = build_api(settings)
    return Worker(
        name=NAME,
        settings=settings,
        registry=api.registry,
        health=api.health,
        app=api.app,
        backgrounds=(
            Background("relay", api.relay.run, api.relay.stop),
            api.feed.background(),
            api.releaser.background(),
            api.refusals.background(),
            *([api.notifier.background()] if api.notifier else []),
        ),
        resources=lambda: _using_database(api),
        end_streams=api.feed.stop,
    )


@asynccontextmanager
async def _using_database(api: AdminApi) -> AsyncIterator[None]:
    try:
        async with using_current(api.engine):
            yield
    finally:
        await api.close()


def build_api(settings: AdminApiSettings, *, monotonic: Callable[[], float] = time.monotonic) -> AdminApi:
    """Build the parts of the service. This opens no connection. `monotonic` is the clock of the rate limits, in
    seconds.
    """
    registry, health = new_registry(), Health()
    metrics = Metrics(registry)
    engine = build_engine(settings, application_name=NAME)
    reserved_engine = build_engine(
        settings, application_name=f"{NAME}-login", pool_size=_RESERVED_CONNECTIONS, tested_every=1.0
    )
    database_check = DatabaseCheck(reserved_engine)
    health.readiness("database", database_check.problem)
    manual_runs = ManualRuns(settings.exchange_lanes, settings.run_deadline_seconds)
    feed = EventFeed(settings, metrics, EventBuffer())
    app, routes = _build_fastapi()
    auth = assemble(settings, engine, reserved_engine, metrics)
    api = AdminApi(
        settings=settings,
        app=app,
        routes=routes,
        relay=Relay(settings, metrics, engine),
        feed=feed,
        releaser=ManualRunReleaser(engine, manual_runs.max_hold),
        refusals=auth.refusals,
        notifier=Notifier(settings, metrics, engine) if settings.notify_urls.get_secret_value().strip() else None,
        engine=engine,
        reserved_engine=reserved_engine,
        health=health,
        registry=registry,
        metrics=metrics,
        event_streams=EventStreams(feed, metrics, settings.max_event_streams, settings.max_event_streams_per_caller),
        database_check=database_check,
        # This is separate from the database check, because a slow count of a long backlog must not make the process
        # unready.
        outbox_observer=OncePerSecond(lambda: observe_outbox(engine, metrics)),
        loss_observer=OncePerSecond(lambda: observe_losses(engine, metrics), interval_seconds=INTERVAL_SECONDS),
        services=ServiceMonitor(lambda names: read_groups(settings, names)),
    )
    _provide_values(api, auth, manual_runs)
    add_middleware(app, settings, metrics, auth, routes, monotonic)
    return api


def _provide_values(api: AdminApi, auth: AuthComponents, manual_runs: ManualRuns) -> None:
    """Give the routes the values that they depend on."""
    catalogue = load_catalogue(api.settings.allowed_exchanges)
    dependencies.ENGINE.provide(api.app, api.engine)
    dependencies.AUTH.provide(api.app, auth)
    dependencies.CONFIG_SERVICE.provide(api.app, ConfigService(api.engine, catalogue, manual_runs))
    bulk.BULK.provide(api.app, Bulk(catalogue, manual_runs))
    manifests.MANIFEST_APPLIER.provide(api.app, ManifestApplier(catalogue))
    exchanges.CATALOGUE.provide(api.app, catalogue)
    services.SERVICE_MONITOR.provide(api.app, api.services)
    events.EVENT_STREAMS.provide(api.app, api.event_streams)
    api_route.EXPENSIVE_REQUESTS.provide(api.app, ExpensiveRequests.for_pool(api.settings.database_pool_size))
    operations.HEALTH.provide(api.app, api.health)
    operations.DATABASE_CHECK.provide(api.app, api.database_check)
    operations.OUTBOX_OBSERVER.provide(api.app, api.outbox_observer)
    operations.LOSS_OBSERVER.provide(api.app, api.loss_observer)
    operations.REGISTRY.provide(api.app, api.registry)


def _build_fastapi() -> tuple[FastAPI, tuple[BaseRoute, ...]]:
    app = FastAPIOffline(  # serves the files of Swagger UI, because a closed network does not reach a CDN
        docs_url=None,  # FastAPI's page has an inline script; `documentation` has none
        static_url="/docs/static",
        title="Candlekeep admin API",
        version="1.0.0",
        description=_DESCRIPTION,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat the Host header of the request, which a caller can forge
        generate_unique_id_function=_operation_id,
    )
    modules = (
        bulk,
        manifests,
        preflight,
        configs,
        config_changes,
        runs,
        reports,
        candles,
        coverage,
        completeness,
        backfills,
        incidents,
        exchanges,
        events,
        tokens,
        sessions,
        audit,
        services,
        operations,
        documentation,
    )
    routers = [module.router for module in modules]
    routes = tuple(route for router in routers for route in router.routes)
    require_declared_roles(routes)
    for router in routers:
        app.include_router(router)
    problems.install_error_handlers(app, routes)
    serve_description(app)
    return app, routes


def _operation_id(route: APIRoute) -> str:
    """The name of the route's function. It is stable, and generated clients name their methods after it."""
    return route.name
