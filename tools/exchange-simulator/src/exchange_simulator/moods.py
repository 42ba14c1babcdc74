"""How an exchange misbehaves: what a mood is, which requests it meets, and what it does to rows and bodies."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from exchange_simulator.dialects.dialect import HTML, Reply, Spoil
from exchange_simulator.markets import EXCHANGES
from exchange_simulator.venue import Row


class Kind(StrEnum):
    """What happens to a request that meets the mood. `latency_ms` delays any of them."""

    LATENCY = "latency"
    RATE_LIMIT = "rate_limit"
    """The exchange's own 429."""
    BAN = "ban"
    """418."""
    ERROR = "error"
    """Any status, with any body."""
    HTML = "html"
    """A web page with status 200, as a proxy in the way answers."""
    TRUNCATED = "truncated"
    """Half of the JSON, well-formed HTTP."""
    RESET = "reset"
    """The connection is reset before any answer."""
    RESET_MID_BODY = "reset_mid_body"
    EMPTY = "empty"
    """Status 200 and no body at all."""
    NO_CANDLES = "no_candles"
    """A well-formed answer without candles."""
    MALFORMED = "malformed"
    """Well-formed JSON with wrong rows in it; `variant` says how wrong."""
    MAINTENANCE = "maintenance"
    TRICKLE = "trickle"
    """The right answer, dripping over `latency_ms` (30 seconds when not given)."""


class Variant(StrEnum):
    """What a malformed row looks like. Every fifth row is malformed, from the first on."""

    NULLS = "nulls"
    NAN = "nan"
    HIGH_BELOW_LOW = "high_below_low"
    UNALIGNED = "unaligned"
    DUPLICATE = "duplicate"
    MIXED = "mixed"
    """Each of the others in turn."""


class BadMoodError(ValueError):
    """The control request makes no mood; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mood:
    """The filters that are set must all match. Without `count` and `for_seconds` it lasts until it is deleted."""

    kind: Kind
    exchange: str | None = None
    symbol: str | None = None
    """In ccxt's form, `BTC/USDT`."""
    path: str | None = None
    """A part of the path, such as `klines`."""
    count: int | None = None
    """How many requests it meets."""
    for_seconds: float | None = None
    every: int = 1
    """Meets every n-th matching request only."""
    latency_ms: int = 0
    retry_after: float | None = None
    """Seconds; sent as a Retry-After header."""
    retry_after_form: str = "seconds"
    """`seconds` or `date`, the two forms that HTTP knows."""
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
    """The moods in force, in the order in which they came; the first that matches a request is the one it meets.

    `now` is monotonic seconds: moods last in real time, whatever the simulated clock does.
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

    def meet(self, exchange: str, symbol: str | None, path: str, now: float) -> Mood | None:
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
"""Fields that are numbers, and the least they may be."""
_FRACTIONS = ("for_seconds", "retry_after")
_HIGHEST = 1_000_000_000
_HIGHEST_STATUS = 999


def parse_mood(payload: Any) -> Mood:
    """A mood from the control request's JSON; raises BadMoodError."""
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
        raise BadMoodError("content_type must be what an HTTP header may hold")
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
    if value > (highest := _HIGHEST_STATUS if name == "status" else _HIGHEST):
        raise BadMoodError(f"{name} must be at most {highest}")


def spoiler(mood: Mood | None) -> Spoil:
    """What the mood does to the rows of an answer."""
    if mood is not None and mood.kind is Kind.NO_CANDLES:
        return lambda _: []
    if mood is not None and mood.kind is Kind.MALFORMED:
        return lambda rows: _malform(rows, mood.variant)
    return lambda rows: rows


def _malform(rows: list[Row], variant: Variant) -> list[Row]:
    others = [one for one in Variant if one is not Variant.MIXED]
    spoiled: list[Row] = []
    for number, row in enumerate(rows):
        if number % 5:
            spoiled.append(row)
        else:
            how = others[number // 5 % len(others)] if variant is Variant.MIXED else variant
            spoiled.extend(_malformed(row, how))
    return spoiled


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
