"""The metrics of admin-api, and the middleware that measures requests."""

import asyncio
import time

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_api.writes.transactions import DATABASE_PROBLEMS, reading
from store.tables import outbox

_TIMEOUT_SECONDS = 2.0
"""The time limit of the queries of a scrape. A scrape must be answered soon, even if the database does not answer."""


class Metrics:
    """Create one object per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "candlekeep_api_requests",
            "Requests that were answered.",
            ("method", "route", "status"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "candlekeep_api_request_seconds",
            "Time from the headers of a request to the end of its response.",
            ("method", "route"),
            buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30),
            registry=registry,
        )
        self.logins = Counter(
            "candlekeep_api_authentications",
            "Authentications by kind of credential and outcome: admitted, or the reason for the refusal.",
            ("kind", "outcome"),
            registry=registry,
        )
        self.refusals_recorded = Counter(
            "candlekeep_api_refusals_recorded",
            "Refused requests by outcome of their audit entry: written, suppressed (too many of one kind; a later "
            "entry summarises them), or lost (the database did not confirm it).",
            ("outcome",),
            registry=registry,
        )
        self.jwks_fetches = Counter(
            "candlekeep_api_jwks_fetches",
            "Attempts to fetch the keys of the identity provider, by outcome.",
            ("outcome",),
            registry=registry,
        )
        self.outbox_backlog = Gauge(
            "candlekeep_outbox_backlog",
            "Messages in the outbox that Kafka has not acknowledged yet; NaN while the database does not answer.",
            registry=registry,
        )
        self.outbox_oldest_seconds = Gauge(
            "candlekeep_outbox_oldest_seconds",
            "Age of the oldest message in the outbox, 0 if there is none; NaN while the database does not answer.",
            registry=registry,
        )
        self.relay_active = Gauge(
            "candlekeep_relay_active",
            "1 on the instance that publishes the outbox, 0 on the others.",
            registry=registry,
        )
        self.relay_sent = Counter(
            "candlekeep_relay_sent",
            "Messages of the outbox that Kafka has acknowledged.",
            ("topic",),
            registry=registry,
        )
        self.relay_failures = Counter(
            "candlekeep_relay_failures",
            "Restarts of the relay after it lost the connection to Kafka or to the database.",
            registry=registry,
        )
        self.relay_delay_seconds = Histogram(
            "candlekeep_relay_delay_seconds",
            "Time from the transaction of a change to Kafka's acknowledgement of its message.",
            buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30, 300, 3600),
            registry=registry,
        )
        self.next_loss_seconds = Gauge(
            "candlekeep_next_loss_seconds",
            "Time until an exchange stops offering a candle of an enabled config that is not verified, in seconds. "
            "Exchanges without a known limit are missing.",
            ("exchange",),
            registry=registry,
        )
        self.next_loss_margin_seconds = Gauge(
            "candlekeep_next_loss_margin_seconds",
            "Time until two intervals of the config before such a loss, in seconds. Negative: fewer than two scheduled "
            "runs can still read the candle.",
            ("exchange",),
            registry=registry,
        )
        self.notifier_active = Gauge(
            "candlekeep_notifier_active",
            "1 on the instance that sends notifications, 0 on the others and if no receivers are set.",
            registry=registry,
        )
        self.notifications = Counter(
            "candlekeep_notifications",
            "Attempts to send a message, by receiver and outcome: sent or failed. Failed ones are repeated.",
            ("receiver", "outcome"),
            registry=registry,
        )
        self.event_stream_events = Counter(
            "candlekeep_event_stream_events", "Events that were read for event streams.", ("topic",), registry=registry
        )
        self.event_streams_open = Gauge("candlekeep_event_streams_open", "Open event streams.", registry=registry)
        self.event_stream_resets = Counter(
            "candlekeep_event_stream_resets",
            "Reset events that were sent because a client had missed events.",
            registry=registry,
        )


async def observe_outbox(engine: AsyncEngine, metrics: Metrics) -> None:
    """Set the gauges of the outbox. Each scrape calls this, because the relay cannot update them while it waits for
    Kafka.
    """
    age = sa.func.extract("epoch", sa.func.clock_timestamp() - sa.func.min(outbox.c.created_at))
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS), reading(engine) as connection:
            row = (await connection.execute(sa.select(sa.func.count(), age).select_from(outbox))).one()
    except (*DATABASE_PROBLEMS, TimeoutError):
        metrics.outbox_backlog.set(float("nan"))
        metrics.outbox_oldest_seconds.set(float("nan"))
    else:
        metrics.outbox_backlog.set(row[0])
        metrics.outbox_oldest_seconds.set(max(0.0, float(row[1] or 0)))


class RequestMetricsMiddleware:
    """Middleware: counts and measures requests by the route's path template, so that ids do not become labels."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        status, started_at = 500, time.perf_counter()

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if route != "unmatched" else "any"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.request_seconds.labels(method, route).observe(time.perf_counter() - started_at)
