"""The interface of a dialect, and the types and functions that all dialects use."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from exchange_simulator.pages import AS_USUAL, Page
from exchange_simulator.timeframes import LAST_MS, clamp

JSON = "application/json"
HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"

_MAX_DIGITS = 20


@dataclass(frozen=True, slots=True)
class ExchangeRequest:
    """A request to an exchange: original host, path, query, simulated time, and the page behaviour of the moods."""

    host: str
    path: str
    query: Mapping[str, str]
    now_ms: int
    page: Page = AS_USUAL


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    weight: int = 1
    """The weight of the request in the exchange's rate limit, if the exchange reports it."""


class Fault(StrEnum):
    RATE_LIMIT = "rate_limit"
    """The exchange's response with status 429."""
    BAN = "ban"
    """The response with status 418, which Binance sends to clients that ignore its 429s."""
    BAN_IN_BODY = "ban_in_body"
    """A refusal that names the end of the ban in its message only."""
    MAINTENANCE = "maintenance"
    CREDENTIALS = "credentials"
    """The response to a request that needs credentials."""
    BLOCKED = "blocked"
    """The response to a client in a country that the exchange does not serve."""
    REFUSAL = "refusal"
    """A refusal with status 200 and an empty list of candles."""
    OLD_SINCE = "old_since"
    """The response to a request that starts too early."""


class Dialect(Protocol):
    exchange: str
    hosts: tuple[str, ...]

    def respond(self, request: ExchangeRequest) -> Reply: ...

    def symbol(self, request: ExchangeRequest) -> str | None:
        """Ccxt's symbol of the market in the request, or None if the market does not exist."""

    def timeframe(self, request: ExchangeRequest) -> str | None:
        """Ccxt's timeframe of a request for candles, or None for all other requests."""

    def fault(self, fault: Fault, now_ms: int, until_ms: int, /) -> Reply:
        """The reply of this exchange to the fault. `until_ms` is the end of a ban."""


class RefusedError(Exception):
    """The request is invalid. `reply` is the error of the exchange."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def as_json(payload: Any, status: int = 200, weight: int = 1) -> Reply:
    return Reply(status, json.dumps(payload, separators=(",", ":")).encode(), weight=weight)


def as_text(text: str, status: int) -> Reply:
    return Reply(status, text.encode(), content_type=TEXT)


def as_html(title: str, status: int) -> Reply:
    page = f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return Reply(status, page.encode(), content_type=HTML)


def as_blocked() -> Reply:
    """The page of CloudFront for a country that is not served."""
    reason = "The Amazon CloudFront distribution is configured to block access from your country."
    page = f"<HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD><BODY>{reason}</BODY></HTML>"
    return Reply(403, page.encode(), content_type=HTML)


def ban_message(until_ms: int) -> str:
    """The words of a ban, with its end in milliseconds since the epoch."""
    return f"Way too many requests; IP banned until {until_ms}."


def non_negative_integer(query: Mapping[str, str], name: str, default: int, refusal: Reply) -> int:
    """A non-negative integer of the query. Raises RefusedError with `refusal` if the value is something else."""
    text = query.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > _MAX_DIGITS:
        raise RefusedError(refusal)
    return int(text)


def instant(query: Mapping[str, str], name: str, default_ms: int, refusal: Reply, unit_ms: int = 1) -> int:
    """A time of the query in milliseconds, limited to the simulated years."""
    return clamp(non_negative_integer(query, name, default_ms // unit_ms, refusal) * unit_ms)


FAR_FUTURE_MS = LAST_MS
