"""Reads from a response how long the exchange requires us to wait. Pure. No input raises an exception.

A value from an exchange may be a number of seconds, a number with a unit, an instant in seconds to nanoseconds since
the epoch, or a date. An instant becomes a wait only with a current time. The results are finite and not negative; the
caller applies an upper limit.
"""

import email.utils
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

EARLIEST_DATE: Final = 1_230_940_800.0
"""2009-01-03, the day of Bitcoin's first block, in seconds since the epoch. An earlier Date header is invalid."""

_FIRST_INSTANT, _END_OF_INSTANTS = 1e9, 1e10
"""Numbers in this range are instants in seconds since the epoch, from 2001 to 2286. A smaller number is a duration,
because 1e9 s are 31 years.
"""

_INSTANT_SCALES: Final = (1.0, 1e3, 1e6, 1e9)
_MAX_CLOCK_DIFFERENCE: Final = 86_400.0
"""In seconds. If a Date header differs more than this from the time of the request, it is not used to compute a
wait.
"""

_LONGEST_TEXT: Final = 10_000
_SEARCH_DEPTH: Final = 5

_RESET_HEADERS: Final[Mapping[str, float]] = {
    # The header's name to the number of its units per second. Instants are recognized by their size.
    "x-ratelimit-reset": 1.0,  # BitMEX, "Request Rate Limits": seconds since the epoch
    "ratelimit-reset": 1.0,  # draft-ietf-httpapi-ratelimit-headers-03: seconds; dYdX indexer: milliseconds since epoch
    "x-ratelimit-reset-after": 1.0,  # seconds
    "gw-ratelimit-reset": 1e3,  # KuCoin, "Request Rate Limit": milliseconds until the quota is reset
    "x-bapi-limit-reset-timestamp": 1.0,  # Bybit, "Rate Limit": milliseconds since the epoch
    "bitvavo-ratelimit-resetat": 1.0,  # Bitvavo, "Rate limiting": milliseconds since the epoch
}
"""Headers with the time at which the quota of requests is full again. They are read only if a response refuses the
request and gives no other time.
"""

_UNITS: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_UNIT: Final = (
    r"(?P<unit>milliseconds?|millis|msecs?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)(?![a-z0-9_])"
)
_NUMBER: Final = re.compile(r"[+-]?\d{1,400}(?:\.\d{0,20})?(?:e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_AMOUNT: Final = re.compile(rf"(?P<number>\d{{1,20}}(?:\.\d{{1,20}})?)\s{{0,3}}{_UNIT}", re.ASCII | re.IGNORECASE)
_ISO: Final = r"\d{4}[-/]\d\d[-/]\d\d(?:[T ]{1,2}\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?\s{0,2}(?:Z|[+-]\d\d:?\d\d)?"
_UNTIL: Final = re.compile(
    rf"\b(?:until|till|unban\w*(?: (?:at|on|time|date))?|(?:retry|again|available|expires?|ends?|lifted)[ _-]"
    rf"(?:at|on|after))[\s:=\"']{{0,4}}"
    rf"(?P<instant>{_ISO}|\d{{10,19}}(?!\d)|[a-z]{{3}}, \d\d [a-z]{{3}} \d{{4}} [\d:]{{8}} \w{{3}})",
    re.ASCII | re.IGNORECASE,
)
_FOR: Final = re.compile(
    r"\b(?:(?:retry|try|again|wait|banned|blocked|suspended|expires?)\b[^.;{}\[\]0-9]{0,30}?"
    r"\b(?:in|for|after|within|another|about|least)|wait|retry[ _-]?after)[\s:=\"'~]{0,4}(?=\d)",
    re.ASCII | re.IGNORECASE,
)
_RETRY_AFTER_NUMBER: Final = re.compile(
    r"\bretry[\s_-]?after[\s:=\"']{0,4}(?P<number>\d{1,20})(?![\d/-])", re.ASCII | re.IGNORECASE
)
_FIELD: Final = re.compile(
    r"(?:(?:retry|try|wait)(?:again)?(?:after|in|at|time|until|seconds|secs?|ms)"
    r"|(?:ip)?(?:ban|banned|block|blocked|unban|suspended)(?:until|till|time|end|endtime|expires?(?:at|in)?|at))"
    r"(?P<unit>ms|millis|milliseconds|s|secs?|seconds|minutes|mins?)?"
)


def requested_wait(
    headers: Mapping[str, str] | None, text: str, body: Any, sent: float | None, *, refused: bool
) -> float | None:
    """Seconds to wait according to a response: its Retry-After header, or the longest wait in the fields of its JSON
    `body` and in its `text`. None if it names no wait.

    `sent`: when the request was sent, seconds since the epoch on the exchange's clock. Instants are counted from the
    response's Date header, or from `sent` if that is missing or invalid. `refused`: the response says that we sent too
    many requests, so the headers with the reset of the quota are also read.
    """
    now = _now(headers, sent)
    by_header = retry_after(headers, sent)
    if by_header is not None:
        return by_header
    waits = [*_waits_of_fields(body, now), *_waits_in_text(text[:_LONGEST_TEXT], now)]
    known = [wait for wait in waits if wait is not None]
    if not known and refused:
        known = list(_waits_until_reset(headers, now))
    return max(known, default=None)


def retry_after(headers: Mapping[str, str] | None, sent: float | None = None) -> float | None:
    """The wait of a Retry-After header in seconds. None if the header is missing or invalid.

    A number counts as seconds (RFC 9110): Binance bans for up to three days, so 60000 may be true. It counts as
    milliseconds only if the response itself shows this: the number is a multiple of 1000, and the quota is reset within
    a thousandth of this time. An example is fastify-rate-limit (issue 301): it sent `retry-after: 60000` with
    `x-ratelimit-reset: 58`.
    """
    value = header(headers, "retry-after")
    if value is None:
        return None
    now = _now(headers, sent)
    wait = _wait_of(value, now)
    if wait and wait % 1000 == 0 and value.strip().isdecimal():
        reset = max(_waits_until_reset(headers, now), default=math.inf)
        return wait / 1000 if reset <= wait / 1000 else wait
    return wait


def date_header(headers: Mapping[str, str] | None) -> float | None:
    """The Date header in seconds since the epoch. None if it is missing or invalid."""
    value = header(headers, "date")
    at = http_date(value) if value is not None else None
    return at if at is not None and at >= EARLIEST_DATE else None


def header(headers: Mapping[str, str] | None, name: str) -> str | None:
    return next((value for key, value in (headers or {}).items() if key.lower() == name), None)


@lru_cache(maxsize=64)
def http_date(value: str) -> float | None:
    """Seconds since the epoch of an HTTP date or an ISO 8601 date, by default in UTC. None if it is neither.

    Cached, because all responses of one second have the same date, and parsing is slow. ccxt joins repeated headers
    with a comma; in this case the first date is used.
    """
    for text in (value, ", ".join(value.split(", ")[:2])):
        for parse in (email.utils.parsedate_to_datetime, _iso_date):
            try:
                date = parse(text)
                return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
            # the parsers raise these errors for invalid dates
            except (ValueError, OverflowError, TypeError, IndexError):
                continue
    return None


def _iso_date(text: str) -> datetime:
    if not text.isascii() or not re.match(r"\d{4}[-/]\d\d", text):
        raise ValueError(f"not a date: {text!r:.50}")
    return datetime.fromisoformat(text.strip().replace("/", "-"))


def _now(headers: Mapping[str, str] | None, sent: float | None) -> float | None:
    date = date_header(headers)
    if date is None or (sent and abs(date - sent) > _MAX_CLOCK_DIFFERENCE):
        return sent or None
    return date


def _wait_of(value: object, now: float | None, unit: float = 1.0) -> float | None:
    """The wait according to the value of a header or of a JSON field. `unit`: seconds per unit, if the value is a
    duration.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _wait_of_number(float(value) if abs(value) < _END_OF_INSTANTS * 1e9 else math.inf, now, unit)
    return _wait_of_text(value.strip()[:200], now, unit) if isinstance(value, str) else None


def _wait_of_text(text: str, now: float | None, unit: float) -> float | None:
    if _NUMBER.fullmatch(text):
        return _wait_of_number(float(text), now, unit)
    if (amount := _AMOUNT.match(text)) is not None:
        return _sum_of_amounts(text, amount.start())
    if (at := http_date(text)) is not None:
        return None if now is None else max(0.0, at - now)
    parts = [part.strip() for part in text.split(",")]
    waits = [_wait_of_number(float(part), now, unit) for part in parts if _NUMBER.fullmatch(part)]
    return max((wait for wait in waits if wait is not None), default=None)


def _wait_of_number(number: float, now: float | None, unit: float = 1.0) -> float | None:
    if not math.isfinite(number):
        return None
    if number < _FIRST_INSTANT:
        return max(0.0, number * unit)
    for scale in _INSTANT_SCALES:
        if _FIRST_INSTANT <= number / scale < _END_OF_INSTANTS:
            return None if now is None else max(0.0, number / scale - now)
    return None


def _waits_until_reset(headers: Mapping[str, str] | None, now: float | None) -> Iterator[float]:
    for name, units_per_second in _RESET_HEADERS.items():
        value = header(headers, name)
        wait = None if value is None else _wait_of(value, now, 1 / units_per_second)
        if wait is not None:
            yield wait


def _waits_of_fields(body: Any, now: float | None, depth: int = _SEARCH_DEPTH) -> Iterator[float | None]:
    """The waits in fields such as `retryAfter`, at any place of the JSON."""
    if depth == 0:
        return
    if isinstance(body, dict):
        for key, value in body.items():
            if (field := _FIELD.fullmatch(re.sub(r"[^a-z]", "", str(key)[:50].lower()))) is not None:
                yield _wait_of(value, now, _unit(field["unit"]))
            yield from _waits_of_fields(value, now, depth - 1)
    elif isinstance(body, list):
        for value in body[:20]:
            yield from _waits_of_fields(value, now, depth - 1)


def _waits_in_text(text: str, now: float | None) -> Iterator[float | None]:
    """The waits in sentences such as "banned until 2026-11-27 10:00:00" or "try again in 5 minutes"."""
    for match in _UNTIL.finditer(text):
        yield _wait_of(re.sub(r"\s+(?=Z|[+-]\d\d:?\d\d$)", "", match["instant"].strip()), now)
    for match in _RETRY_AFTER_NUMBER.finditer(text):
        if _AMOUNT.match(text, match.start("number")) is None:
            yield _wait_of_number(float(match["number"]), now)
    for match in _FOR.finditer(text):
        if _AMOUNT.match(text, match.end()) is not None:
            yield _sum_of_amounts(text, match.end())


def _sum_of_amounts(text: str, start: int) -> float | None:
    """The duration that begins at `start`, such as "30 s" or "1 minute 30 seconds"."""
    total, at = 0.0, start
    while (amount := _AMOUNT.match(text, at)) is not None:
        total += float(amount["number"]) * _unit(amount["unit"])
        separator = re.compile(r"(?:\s|,|and\b){0,4}", re.IGNORECASE).match(text, amount.end())
        at = separator.end() if separator is not None else amount.end()
    return total if math.isfinite(total) else None


def _unit(name: str | None) -> float:
    """Seconds per unit; seconds if there is no name."""
    if not name:
        return 1.0
    lower = name.lower()
    return _UNITS["ms"] if lower.startswith(("ms", "milli")) else _UNITS[lower[0]]
