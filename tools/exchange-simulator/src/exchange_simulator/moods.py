"""Moods: faults that the simulator plays, the requests that they match, and their effect on rows and bodies."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from exchange_simulator.dialects.dialect import HTML, Reply, RowChange
from exchange_simulator.markets import EXCHANGES
from exchange_simulator.venue import Row


class Kind(StrEnum):
    """The effect of a mood on a request. `latency_ms` delays the response in all cases."""

    LATENCY = "latency"
    RATE_LIMIT = "rate_limit"
    """The exchange's response with status 429."""
    BAN = "ban"
    """The exchange's response with status 418."""
    ERROR = "error"
    """A response with a chosen status and body."""
    HTML = "html"
    """A web page with status 200, as a proxy may return it."""
    TRUNCATED = "truncated"
    """A valid HTTP response with half of the JSON."""
    RESET = "reset"
    """The connection is reset before the response."""
    RESET_MID_BODY = "reset_mid_body"
    EMPTY = "empty"
    """Status 200 and an empty body."""
    NO_CANDLES = "no_candles"
    """A valid response without candles."""
    MALFORMED = "malformed"
    """Valid JSON with wrong rows. `variant` selects the kind of error."""
    MAINTENANCE = "maintenance"
    TRICKLE = "trickle"
    """The correct response, sent slowly over `latency_ms` (default: 30 seconds)."""


class Variant(StrEnum):
    """The error in malformed rows. The first row and every fifth row after it are malformed."""

    NULLS = "nulls"
    NAN = "nan"
    HIGH_BELOW_LOW = "high_below_low"
    UNALIGNED = "unaligned"
    DUPLICATE = "duplicate"
    MIXED = "mixed"
    """All other variants in turn."""


class BadMoodError(ValueError):
    """The JSON is not a valid mood. The message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mood:
    """A fault for requests that match all filters. Without `count` and `for_seconds`, it lasts until it is deleted."""

    kind: Kind
    exchange: str | None = None
    symbol: str | None = None
    """ccxt's symbol, such as `BTC/USDT`."""
    path: str | None = None
    """A part of the path, such as `klines`."""
    count: int | None = None
    """The number of requests to which it applies."""
    for_seconds: float | None = None
    every: int = 1
    """Applies to every n-th matching request only."""
    latency_ms: int = 0
    retry_after: float | None = None
    """The value of the Retry-After header, in seconds."""
    retry_after_form: str = "seconds"
    """`seconds` or `date`, the two forms in HTTP."""
    status: int = 500
    body: str | None = None
    content_type: str | None = None
    variant: Variant = Variant.MIXED

    def matches(self, exchange: str, symbol: str | None, path: str) -> bool:
        return (
            self.exchange in (None, exchange)
            and self.symbol in (None, symbol)
            and (self.path is None or self.path in path)
        )


@dataclass(slots=True)
class _Active:
    mood: Mood
    number: int
    since: float
    seen: int = 0
    met: int = 0

    def is_over(self, now: float) -> bool:
        mood = self.mood
        if mood.count is not None and self.met >= mood.count:
            return True
        return mood.for_seconds is not None and now - self.since >= mood.for_seconds


class MoodBook:
    """The active moods, in the order in which they were added. The first mood that matches a request is applied.

    `now` is in monotonic seconds: moods last in real time, independent of the simulated clock.
    """

    def __init__(self) -> None:
        self._active: list[_Active] = []
        self._numbers = 0

    def add(self, mood: Mood, now: float) -> int:
        self._numbers += 1
        self._active.append(_Active(mood, self._numbers, now))
        return self._numbers

    def clear(self) -> int:
        count = len(self._active)
        self._active.clear()
        return count

    def mood_for(self, exchange: str, symbol: str | None, path: str, now: float) -> Mood | None:
        self._active = [active for active in self._active if not active.is_over(now)]
        for active in self._active:
            if not active.mood.matches(exchange, symbol, path):
                continue
            active.seen += 1
            if active.seen % active.mood.every == 0:
                active.met += 1
                return active.mood
        return None

    def describe(self, now: float) -> list[dict[str, Any]]:
        return [
            {"id": active.number, "met": active.met, **_as_dict(active.mood)}
            for active in self._active
            if not active.is_over(now)
        ]


def _as_dict(mood: Mood) -> dict[str, Any]:
    return {field.name: getattr(mood, field.name) for field in fields(mood)}


_NUMBERS = {"count": 1, "for_seconds": 0, "every": 1, "latency_ms": 0, "retry_after": 0, "status": 200}
"""The numeric fields and their minimum."""
_FRACTIONS = ("for_seconds", "retry_after")
_MAX_NUMBER = 1_000_000_000
_MAX_STATUS = 999


def parse_mood(payload: Any) -> Mood:
    """The mood of a control request's JSON. Raises BadMoodError."""
    if not isinstance(payload, dict):
        raise BadMoodError("a mood is a JSON object")
    known = {field.name for field in fields(Mood)}
    if unknown := sorted(set(payload) - known):
        raise BadMoodError(f"unknown field {unknown[0]!r}; known are {', '.join(sorted(known))}")
    values = {name: value for name, value in payload.items() if value is not None}
    values["kind"] = _choice(values, "kind", Kind)
    if "variant" in values:
        values["variant"] = _choice(values, "variant", Variant)
    for name in values.keys() & _NUMBERS.keys():
        _check_number(name, values[name])
    for name in values.keys() & {"exchange", "symbol", "path", "body", "content_type", "retry_after_form"}:
        if not isinstance(values[name], str):
            raise BadMoodError(f"{name} must be a text")
    if not values.get("content_type", "text").isprintable():
        raise BadMoodError("content_type must be a valid value of an HTTP header")
    if values.get("exchange", "binance") not in EXCHANGES:
        raise BadMoodError(f"exchange must be one of {', '.join(EXCHANGES)}")
    if values.get("retry_after_form", "date") not in ("seconds", "date"):
        raise BadMoodError("retry_after_form must be 'seconds' or 'date'")
    return Mood(**values)


def _choice(values: Mapping[str, Any], name: str, choices: type[StrEnum]) -> Any:
    try:
        return choices(values.get(name, ""))
    except ValueError:
        raise BadMoodError(f"{name} must be one of {', '.join(choices)}") from None


def _check_number(name: str, value: Any) -> None:
    allowed = int | float if name in _FRACTIONS else int
    if isinstance(value, bool) or not isinstance(value, allowed) or not value >= _NUMBERS[name]:
        whole = "" if name in _FRACTIONS else "whole "
        raise BadMoodError(f"{name} must be a {whole}number, at least {_NUMBERS[name]}")
    if value > (highest := _MAX_STATUS if name == "status" else _MAX_NUMBER):
        raise BadMoodError(f"{name} must be at most {highest}")


def row_change_of(mood: Mood | None) -> RowChange:
    """The function with which the mood changes the rows of a response."""
    if mood is not None and mood.kind is Kind.NO_CANDLES:
        return lambda _: []
    if mood is not None and mood.kind is Kind.MALFORMED:
        return lambda rows: _malform(rows, mood.variant)
    return lambda rows: rows


def _malform(rows: list[Row], variant: Variant) -> list[Row]:
    others = [one for one in Variant if one is not Variant.MIXED]
    changed: list[Row] = []
    for number, row in enumerate(rows):
        if number % 5:
            changed.append(row)
        else:
            error = others[number // 5 % len(others)] if variant is Variant.MIXED else variant
            changed.extend(_malformed(row, error))
    return changed


def _malformed(row: Row, variant: Variant) -> list[Row]:
    match variant:
        case Variant.NULLS:
            return [Row(row.open_ms, None, None, None, None, None)]
        case Variant.NAN:
            return [row._replace(open="NaN", high="NaN", low="NaN", close="NaN")]
        case Variant.HIGH_BELOW_LOW:
            return [row._replace(high="0" if row.high == row.low else row.low, low=row.high)]
        case Variant.UNALIGNED:
            return [row._replace(open_ms=row.open_ms + 17_000)]
        case Variant.DUPLICATE | Variant.MIXED:
            return [row, row]


def html_page() -> Reply:
    page = "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Checking your browser.</body></html>"
    return Reply(200, page.encode(), content_type=HTML)
