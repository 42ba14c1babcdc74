"""What lies around the routes, from the inside to the outside."""

from typing import Final

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from admin_api import request_ids
from admin_api.access.assembly import Access
from admin_api.access.gate import Gate
from admin_api.body_limit import BodyLimit
from admin_api.content_encoding import PlainBodies
from admin_api.head_requests import HeadRequests
from admin_api.last_resort import LastResort
from admin_api.metrics import Metrics, RequestMeter
from admin_api.plain_queries import PlainQueries
from admin_api.rate_limits import RateLimits
from admin_api.security_headers import SecurityHeaders
from admin_api.settings import AdminApiSettings

_MAY_BE_SENT: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "X-Request-ID",
)
_MAY_BE_READ: Final = (
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


def surround(app: FastAPI, settings: AdminApiSettings, metrics: Metrics, access: Access) -> None:
    """The first that is added is the innermost."""
    app.add_middleware(HeadRequests)
    app.add_middleware(BodyLimit)
    app.add_middleware(PlainBodies)
    app.add_middleware(PlainQueries)
    app.add_middleware(
        RateLimits,
        requests_per_minute=settings.requests_per_minute,
        triggers_per_minute=settings.triggers_per_minute,
    )
    app.add_middleware(Gate, access=access, metrics=metrics)
    if settings.cors_allowed_origins:  # outside of the gate: a browser asks for leave without a token
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_allowed_origins.split(","),
            allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
            allow_headers=_MAY_BE_SENT,
            expose_headers=_MAY_BE_READ,
        )
    app.add_middleware(RequestMeter, metrics=metrics)  # it counts refusals too
    app.add_middleware(LastResort)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(CorrelationIdMiddleware, **request_ids.OPTIONS)
    if settings.trusted_proxies:  # all others see the client's own address
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=settings.trusted_proxies)
