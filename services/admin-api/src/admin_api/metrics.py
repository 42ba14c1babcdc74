"""admin-api's metrics, each with a sentence, and the middleware that measures requests."""

import asyncio
import time

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_api.writes.transactions import DATABASE_PROBLEMS, reading
from store.tables import outbox

_PATIENCE_SECONDS = 2.0
"""A scrape must answer soon, also while the database does not."""


class Metrics:
    """Make one per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "candlekeep_api_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "candlekeep_api_request_seconds",
            "From the request's head to the end of its answer.",
            ("method", "route"),
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30),
            registry=registry,
        )
        self.logins = Counter(
            "candlekeep_api_authentications",
            "Credentials looked at, by what they are and what came of it: admitted, or why not.",
            ("kind", "outcome"),
            registry=registry,
        )
        self.refusals_recorded = Counter(
            "candlekeep_api_refusals_recorded",
            "Refused requests on their way to the audit log: written, suppressed because the address had too many, "
            "or lost: the database did not confirm it.",
            ("outcome",),
            registry=registry,
        )
        self.jwks_fetches = Counter(
            "candlekeep_api_jwks_fetches",
            "Times that the identity provider's keys were fetched, or could not be.",
            ("outcome",),
            registry=registry,
        )
        self.outbox_backlog = Gauge(
            "candlekeep_outbox_backlog",
            "Announcements that Kafka has not acknowledged yet; NaN while the database does not answer.",
            registry=registry,
        )
        self.outbox_oldest_seconds = Gauge(
            "candlekeep_outbox_oldest_seconds",
            "Age of the oldest announcement not acknowledged yet, 0 when there is none; NaN as above.",
            registry=registry,
        )
        self.relay_active = Gauge(
            "candlekeep_relay_active", "1 on the instance that sends the outbox, 0 on the others.", registry=registry
        )
        self.relay_sent = Counter(
            "candlekeep_relay_sent", "Announcements acknowledged by Kafka.", ("topic",), registry=registry
        )
        self.relay_failures = Counter(
            "candlekeep_relay_failures",
            "Times that the relay lost Kafka or the database and began anew.",
            registry=registry,
        )
        self.relay_delay_seconds = Histogram(
            "candlekeep_relay_delay_seconds",
            "From the transaction that made a change to Kafka's acknowledgement of its announcement.",
            buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30, 300, 3600),
            registry=registry,
        )
        self.event_stream_events = Counter(
            "candlekeep_event_stream_events", "Events read for those who listen.", ("topic",), registry=registry
        )
        self.event_streams_open = Gauge(
            "candlekeep_event_streams_open", "Connections that listen to events.", registry=registry
        )
        self.event_stream_resets = Counter(
            "candlekeep_event_stream_resets",
            "Listeners that had to be told that they missed something.",
            registry=registry,
        )


async def observe_outbox(engine: AsyncEngine, metrics: Metrics) -> None:
    """Set the outbox' gauges: when somebody looks, because the relay cannot while it waits for Kafka."""
    age = sa.func.extract("epoch", sa.func.clock_timestamp() - sa.func.min(outbox.c.created_at))
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS), reading(engine) as connection:
            row = (await connection.execute(sa.select(sa.func.count(), age).select_from(outbox))).one()
    except (*DATABASE_PROBLEMS, TimeoutError):
        metrics.outbox_backlog.set(float("nan"))
        metrics.outbox_oldest_seconds.set(float("nan"))
    else:
        metrics.outbox_backlog.set(row[0])
        metrics.outbox_oldest_seconds.set(max(0.0, float(row[1] or 0)))


class RequestMetricsMiddleware:
    """Middleware: counts and times requests by route template, so that ids do not become labels."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        status, began = 500, time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if route != "unmatched" else "any"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.request_seconds.labels(method, route).observe(time.perf_counter() - began)
