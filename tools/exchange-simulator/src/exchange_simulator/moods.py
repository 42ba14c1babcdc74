"""Moods: faults that the simulator plays, and the requests that they match."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from random import Random
from typing import Any, NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from exchange_simulator.bad_rows import Variant
from exchange_simulator.dialects.dialect import HTML, Reply
from exchange_simulator.markets import EXCHANGES
from exchange_simulator.pages import AS_USUAL, PAGES, Page, combined
from exchange_simulator.timeframes import FRAMES

_T = TypeVar("_T")

_TRADE_PATHS = ("/aggTrades", "/Trades", "/ticker")


class Kind(StrEnum):
    """The effect of a mood on a request. `latency_ms` delays the response in all cases."""

    LATENCY = "latency"
    RATE_LIMIT = "rate_limit"
    """The exchange's response with status 429."""
    BAN = "ban"
    """The exchange's response with status 418."""
    BAN_IN_BODY = "ban_in_body"
    """A refusal whose message alone names the end of the ban, `ban_seconds` from now."""
    CREDENTIALS = "credentials"
    """The exchange's response to a request without the credentials that it needs."""
    BLOCKED = "blocked"
    """The exchange's response to a country that it does not serve: 403 or 451."""
    REFUSAL = "refusal"
    """A refusal with status 200 and an empty list of candles."""
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
    PAGE = "page"
    """Other rows: `page` says which. All moods of this kind that match a request are combined; a later one wins."""


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
    timeframe: str | None = None
    """ccxt's timeframe of a request for candles."""
    candles: bool | None = None
    """True: only requests for candles. False: only other requests."""
    count: int | None = None
    """The number of requests to which it applies."""
    for_seconds: float | None = None
    every: int = 1
    """Applies to every n-th matching request only."""
    chance: float = 1.0
    """The share of matching requests to which it applies, chosen by the seed."""
    latency_ms: int = 0
    retry_after: float | None = None
    """The value of the Retry-After header, in seconds."""
    retry_after_form: str = "seconds"
    """`seconds` or `date`, the two forms in HTTP."""
    retry_after_text: str | None = None
    """The value of the Retry-After header as it is, valid or not."""
    ban_seconds: float = 120
    status: int = 500
    body: str | None = None
    content_type: str | None = None
    variant: Variant = Variant.MIXED
    page: Page = AS_USUAL

    def matches(self, target: "Target") -> bool:
        for_candles = target.timeframe is not None
        return (
            self.exchange in (None, target.exchange)
            and self.symbol in (None, target.symbol)
            and self.timeframe in (None, target.timeframe)
            and self.candles in (None, for_candles)
            and (self.path is None or self.path in target.path)
            and (for_candles or target.is_for_trades or self.kind is not Kind.PAGE)
        )

    def effect_on_rows(self) -> Page:
        """The changes of the rows of a response."""
        if self.kind is Kind.NO_CANDLES:
            return Page(max_rows=0)
        if self.kind is Kind.MALFORMED:
            return Page(impossible=self.variant, impossible_every=5)
        return self.page


class Target(NamedTuple):
    """The subject of a request."""

    exchange: str
    symbol: str | None = None
    timeframe: str | None = None
    """None if it is not a request for candles."""
    path: str = "/"

    @property
    def is_for_trades(self) -> bool:
        return self.path.endswith(_TRADE_PATHS)


class Moods(NamedTuple):
    """The moods of one request."""

    mood: Mood | None
    """The first mood that matches, except those of the kind `page`."""
    page: Page
    """All changes of the rows, combined."""

    @property
    def kind(self) -> Kind | None:
        """The kind for the log."""
        if self.mood is not None:
            return self.mood.kind
        return None if self.page is AS_USUAL else Kind.PAGE


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

    def applies(self, seed: int) -> bool:
        """Count a matching request, and decide whether the mood applies to it."""
        self.seen += 1
        if self.seen % self.mood.every or Random(f"{seed}|{self.number}|{self.seen}").random() >= self.mood.chance:
            return False
        self.met += 1
        return True


class MoodBook:
    """The active moods, in the order in which they were added.

    The first mood that matches a request is applied, and in addition all matching moods of the kind `page`.
    `now` is in monotonic seconds: moods last in real time, independent of the simulated clock.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._active: list[_Active] = []
        self._numbers = 0

    def add(self, mood: Mood, now: float) -> int:
        self._numbers += 1
        self._active.append(_Active(mood, self._numbers, now))
        return self._numbers

    def remove(self, number: int) -> int:
        """End one mood. Returns the number of moods that ended: 1, or 0 if it had ended already."""
        before = len(self._active)
        self._active = [active for active in self._active if active.number != number]
        return before - len(self._active)

    def clear(self) -> int:
        count = len(self._active)
        self._active.clear()
        return count

    def moods_for(self, target: Target, now: float) -> Moods:
        """Count the request and return its moods."""
        chosen: Mood | None = None
        pages: list[Page] = []
        for active in self._matching(target, now):
            if active.mood.kind is Kind.PAGE:
                if active.applies(self._seed):
                    pages.append(active.mood.page)
            elif chosen is None and active.applies(self._seed):
                chosen = active.mood
        return Moods(chosen, combined(pages if chosen is None else [*pages, chosen.effect_on_rows()]))

    def page_for(self, target: Target, now: float) -> Page:
        """All changes of the rows by active moods, without a request. `every` and `chance` are ignored."""
        return combined([active.mood.effect_on_rows() for active in self._matching(target, now)])

    def _matching(self, target: Target, now: float) -> list[_Active]:
        self._active = [active for active in self._active if not active.is_over(now)]
        return [active for active in self._active if active.mood.matches(target)]

    def describe(self, now: float) -> list[dict[str, Any]]:
        return [
            {"id": active.number, "met": active.met, **_as_dict(active.mood)}
            for active in self._active
            if not active.is_over(now)
        ]


def _as_dict(mood: Mood) -> dict[str, Any]:
    page = PAGES.dump_python(mood.page, exclude_defaults=True)
    return {field.name: getattr(mood, field.name) for field in fields(mood)} | {"page": page}


_NUMBERS = {
    "count": 1,
    "for_seconds": 0,
    "every": 1,
    "chance": 0,
    "latency_ms": 0,
    "retry_after": 0,
    "ban_seconds": 0,
    "status": 200,
}
"""The numeric fields and their minimum."""
_FRACTIONS = ("for_seconds", "retry_after", "chance", "ban_seconds")
_TEXTS = {"exchange", "symbol", "path", "timeframe", "body", "content_type", "retry_after_form", "retry_after_text"}
_MAX_NUMBER = 1_000_000_000
_MAX = {"status": 999, "chance": 1}


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
    _check_texts(values)
    if not isinstance(values.get("candles", True), bool):
        raise BadMoodError("candles must be true or false")
    if ("page" in values) != (values["kind"] is Kind.PAGE):
        raise BadMoodError("a mood of the kind 'page' has the field page, and no other mood has it")
    if "page" in values:
        values["page"] = validated(PAGES, values["page"], "page")
    return Mood(**values)


def validated(adapter: TypeAdapter[_T], payload: Any, name: str) -> _T:
    """The value of a control request's JSON. Raises ValueError with the first reason why it is invalid."""
    try:
        return adapter.validate_python(payload)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([name, *(str(part) for part in first["loc"])])
        raise BadMoodError(f"{place}: {first['msg']}") from None


def _check_texts(values: Mapping[str, Any]) -> None:
    for name in values.keys() & _TEXTS:
        if not isinstance(values[name], str):
            raise BadMoodError(f"{name} must be a text")
    for name in ("content_type", "retry_after_text"):
        if not values.get(name, "text").isprintable():
            raise BadMoodError(f"{name} must be a valid value of an HTTP header")
    if values.get("timeframe", "1m") not in FRAMES:
        raise BadMoodError(f"timeframe must be one of {', '.join(FRAMES)}")
    if values.get("exchange", "binance") not in EXCHANGES:
        raise BadMoodError(f"exchange must be one of {', '.join(EXCHANGES)}")
    if values.get("retry_after_form", "date") not in ("seconds", "date"):
        raise BadMoodError("retry_after_form must be 'seconds' or 'date'")


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
    if value > (highest := _MAX.get(name, _MAX_NUMBER)):
        raise BadMoodError(f"{name} must be at most {highest}")


def html_page() -> Reply:
    page = "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Checking your browser.</body></html>"
    return Reply(200, page.encode(), content_type=HTML)
