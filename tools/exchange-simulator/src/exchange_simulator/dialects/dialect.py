"""What a dialect is, and the words that all of them use."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from exchange_simulator.timeframes import LAST_MS, clamp
from exchange_simulator.venue import Row

JSON = "application/json"
HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"

_MOST_DIGITS = 20

Spoil = Callable[[list[Row]], list[Row]]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: the original host, the path behind it, the query, the simulated now, what a mood does to rows."""

    host: str
    path: str
    query: Mapping[str, str]
    now_ms: int
    spoil: Spoil = lambda rows: rows


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    weight: int = 1
    """What the request costs of the exchange's rate budget, where the exchange tells."""


class Fault(StrEnum):
    RATE_LIMIT = "rate_limit"
    """The exchange's own 429."""
    BAN = "ban"
    """418, as Binance answers those who ignore its 429s."""
    MAINTENANCE = "maintenance"


class Dialect(Protocol):
    exchange: str
    hosts: tuple[str, ...]

    def answer(self, ask: Ask) -> Reply: ...

    def symbol(self, ask: Ask) -> str | None:
        """The market that the request is about, as ccxt calls it, if it names one that exists."""

    def fault(self, fault: Fault, now_ms: int, /) -> Reply:
        """How this exchange says that it will not answer."""


class RefusedError(Exception):
    """The request is wrong; `reply` is what the exchange says to that."""

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


def whole_number(query: Mapping[str, str], name: str, default: int, refusal: Reply) -> int:
    """A non-negative whole number of the query; raises RefusedError with `refusal` when it is something else."""
    text = query.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > _MOST_DIGITS:
        raise RefusedError(refusal)
    return int(text)


def instant(query: Mapping[str, str], name: str, default_ms: int, refusal: Reply, unit_ms: int = 1) -> int:
    """An instant of the query in milliseconds, clamped to the simulated centuries."""
    return clamp(whole_number(query, name, default_ms // unit_ms, refusal) * unit_ms)


FAR_FUTURE_MS = LAST_MS
