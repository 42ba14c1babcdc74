"""The session cookie: its name, and how it is read, set and cleared."""

from datetime import datetime
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response

SECURE_NAME: Final = "__Host-candlekeep"
"""The name of the cookie over TLS. Browsers accept its prefix only over TLS, with Secure and without Domain, so another
subdomain cannot set the cookie.
"""
PLAIN_NAME: Final = "candlekeep-session"


def cookie_name(*, secure: bool) -> str:
    return SECURE_NAME if secure else PLAIN_NAME


def session_cookie(headers: Headers, *, secure: bool) -> str | None:
    """The session cookie of a request; None if there is none or more than one. With TLS only `SECURE_NAME` is read."""
    name = cookie_name(secure=secure)
    found = [
        value
        for header in headers.getlist("cookie")
        for part in header.split(";")
        for key, _, value in [part.strip().partition("=")]
        if key == name
    ]
    return found[0] if len(found) == 1 and found[0] else None


def set_session_cookie(response: Response, value: str, *, secure: bool, now: datetime, expires_at: datetime) -> None:
    response.set_cookie(
        cookie_name(secure=secure),
        value,
        max_age=max(0, int((expires_at - now).total_seconds())),
        path="/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )


def clear_session_cookie(response: Response, *, secure: bool) -> None:
    response.delete_cookie(cookie_name(secure=secure), path="/", secure=secure, httponly=True, samesite="strict")
