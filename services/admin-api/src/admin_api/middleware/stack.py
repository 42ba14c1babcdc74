"""The middleware of the application, and its order."""

from collections.abc import Callable, Sequence
from typing import Final

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from admin_api.auth.assembly import AuthComponents
from admin_api.dashboard.files import CurrentDashboard
from admin_api.http import request_ids
from admin_api.metrics import Metrics, RequestMetricsMiddleware
from admin_api.middleware.authentication import AuthenticationMiddleware
from admin_api.middleware.body_limit import BodyLimitMiddleware
from admin_api.middleware.concurrent_requests import ConcurrentRequestsMiddleware
from admin_api.middleware.dashboard import DashboardMiddleware
from admin_api.middleware.head_requests import HeadRequestMiddleware
from admin_api.middleware.rate_limits import RateLimitMiddleware
from admin_api.middleware.request_encoding import ContentEncodingMiddleware, QueryEncodingMiddleware
from admin_api.middleware.run_traces import RunTraceMiddleware
from admin_api.middleware.security_headers import SecurityHeadersMiddleware
from admin_api.middleware.unexpected_errors import UnexpectedErrorMiddleware
from admin_api.settings import AdminApiSettings

_REQUEST_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "X-Request-ID",
)
_RESPONSE_HEADERS: Final = (
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
    "X-Total-Count",
    "X-Total-Count-Exact",
)


def add_middleware(
    app: FastAPI,
    settings: AdminApiSettings,
    metrics: Metrics,
    auth: AuthComponents,
    routes: Sequence[BaseRoute],
    monotonic: Callable[[], float],
) -> None:
    """Add the middleware. The one that is added first is the innermost. `monotonic` is the clock of the rate limits."""
    app.add_middleware(HeadRequestMiddleware)
    app.add_middleware(BodyLimitMiddleware)
    app.add_middleware(ContentEncodingMiddleware)
    app.add_middleware(QueryEncodingMiddleware)
    app.add_middleware(
        RateLimitMiddleware,
        requests_per_minute=settings.requests_per_minute,
        triggers_per_minute=settings.triggers_per_minute,
        monotonic=monotonic,
    )
    app.add_middleware(AuthenticationMiddleware, auth=auth, metrics=metrics, routes=routes, monotonic=monotonic)
    app.add_middleware(ConcurrentRequestsMiddleware)  # outside of authentication, to limit its work, too
    app.add_middleware(DashboardMiddleware, dashboard=CurrentDashboard(settings.dashboard_folder))
    if settings.cors_allowed_origins:  # outside of authentication: a browser sends preflight requests without a token
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_allowed_origins.split(","),
            allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_RESPONSE_HEADERS,
        )
    app.add_middleware(
        RequestMetricsMiddleware, metrics=metrics
    )  # outside of authentication, to count refused requests too
    app.add_middleware(UnexpectedErrorMiddleware)
    if settings.otel_exporter_otlp_endpoint:
        app.add_middleware(RunTraceMiddleware)
    app.add_middleware(SecurityHeadersMiddleware)
    app.add_middleware(CorrelationIdMiddleware, **request_ids.OPTIONS)
    if settings.trusted_proxies:  # outermost: all other middleware sees the address of the client
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=settings.trusted_proxies)
