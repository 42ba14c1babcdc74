"""Finds out by comparison how a request for candles depends on its arguments. Pure: `recording` makes the requests.

A single request is not enough: a number in it may be a time, a count or a name. Requests that differ in one argument
show which part of the request contains the start, the end, or the number of candles.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from contracts.exchange_catalogue import CandleRequest, CannotCollect, RequestKind
from contracts.timeframes import DAY_MS, floor_open, parse_timeframe, shift

_FIRST_INSTANT: Final = 631_152_000_000
"""1990-01-01 in milliseconds. A smaller number in a request is a count or a name, not a time."""
LONGEST_SPAN_MS: Final = 25 * 366 * DAY_MS
"""The longest span of a page. No exchange is older than this, and no request for such a page begins before 1990."""
_LAST_INSTANT: Final = 4_102_444_800_000
"""2100-01-01 in milliseconds."""
_DATE_OF_A_FILE: Final = r"(19|20)\d\d((0|1)\d[0-3]\d)?"
"""A year, or a year with month and day."""
_ANOTHER_LIMIT: Final = 1
"""Another limit. No class of ccxt changes it to one of `_ASCENDING_LIMITS`."""
_YEARS_BACK: Final = (0, 1, 6)
"""The ages of the compared requests in years. There are several, because some classes use another endpoint for old
candles.
"""
_CLOCKS: Final = frozenset({"timestamp", "nonce"})
"""Names of fields that contain the time of the request itself."""
_ASCENDING_LIMITS: Final = (2, 10, 50, 100, 200, 500)
_RESTRICTIVE_FIRST: Final = (
    RequestKind.NO_SINCE,
    RequestKind.DAY_FILE,
    RequestKind.END_ONLY,
    RequestKind.UNKNOWN,
    RequestKind.WINDOW,
    RequestKind.START_TO_NOW,
    RequestKind.START_ONLY,
)


@dataclass(frozen=True)
class CandleCall:
    """Arguments of ccxt's `fetch_ohlcv`, and the time of the call. Instants in milliseconds."""

    timeframe: str
    now: int
    since: int
    limit: int
    until: int | None = None


@dataclass(frozen=True)
class HttpRequest:
    """A request that ccxt would have sent."""

    url: str
    body: str | None = None


RequestOf = Callable[[CandleCall], HttpRequest | CannotCollect]
"""The request that ccxt builds for a call, or the reason why it builds none."""


def candle_request(request_of: RequestOf, timeframe: str, now: int, claimed: int) -> CandleRequest | CannotCollect:
    """The request for candles of one timeframe. `claimed`: the largest limit that ccxt's metadata allow."""
    request_of = cache(request_of)
    claimed = min(claimed, LONGEST_SPAN_MS // parse_timeframe(timeframe).longest_ms)
    calls = [_call(timeframe, now, claimed, years) for years in _YEARS_BACK]
    for call in calls:
        if isinstance(refused := request_of(call), CannotCollect):
            return refused
    kind = min((_kind(request_of, call) for call in calls), key=_RESTRICTIVE_FIRST.index)
    if kind is RequestKind.DAY_FILE:  # if a page were wider than a file, time between two files would be skipped
        claimed = min(claimed, max(1, DAY_MS // parse_timeframe(timeframe).longest_ms))
    limits = sorted({claimed, *(limit for limit in _ASCENDING_LIMITS if limit < claimed)})

    @cache
    def covered(limit: int) -> int:
        return min(_covered(request_of, _call(timeframe, now, limit, years)) for years in _YEARS_BACK)

    page = max(covered(limit) for limit in limits)
    limit = _smallest(limits, page, lambda limit: covered(limit) >= page)
    starts_late = any(start > call.since for call in calls for start in _since_parts(request_of, call).starts)
    until = all(_honours_until(request_of, call) for call in calls)
    # If the start is late, the corrected request begins one candle earlier. So it covers one candle less after `since`.
    return CandleRequest(kind, page - 1 if starts_late else page, limit, until=until, starts_late=starts_late)


def _smallest(limits: list[int], page: int, is_enough: Callable[[int], bool]) -> int:
    """The smallest sufficient limit. It is found by bisection between two of `limits`. The result is at least `page`,
    because no request covers more candles than its limit.
    """
    enough = next(limit for limit in limits if limit >= page and is_enough(limit))
    too_small = max([page - 1, *(limit for limit in limits if limit < enough)])
    while enough - too_small > 1:
        middle = (enough + too_small) // 2
        enough, too_small = (middle, too_small) if is_enough(middle) else (enough, middle)
    return enough


def _call(timeframe: str, now: int, limit: int, years: int) -> CandleCall:
    """A call for `limit` candles that ended some years ago."""
    length = parse_timeframe(timeframe).longest_ms
    since = now - years * 366 * DAY_MS - (limit + 3) * length
    return CandleCall(timeframe, now, floor_open(timeframe, since), limit)


@dataclass(frozen=True)
class _SinceParts:
    """The parts of a request that depend on `since`."""

    starts: tuple[int, ...]
    """Parts with an instant up to `since`. If there is none, parts with an instant within the first candle."""
    ends: tuple[int, ...]
    is_day_file: bool
    unreadable: bool
    """Whether a part depends on `since`, but no such part is an instant."""


def _since_parts(request_of: RequestOf, call: CandleCall) -> _SinceParts:
    before, after = _fields(request_of, call), _fields(request_of, _moved(call))
    changed = [value for name, value in before.items() if after.get(name) != value]
    instants = {value: instant for value in changed if (instant := instant_of(value)) is not None}
    latest_start = call.since
    if not any(instant <= call.since for instant in instants.values()):
        latest_start += parse_timeframe(call.timeframe).longest_ms - 1
    return _SinceParts(
        starts=tuple(instant for instant in instants.values() if instant <= latest_start),
        ends=tuple(instant for instant in instants.values() if instant > latest_start),
        is_day_file=any(re.fullmatch(_DATE_OF_A_FILE, text) for text in instants),
        unreadable=bool(changed) and not instants,
    )


def _kind(request_of: RequestOf, call: CandleCall) -> RequestKind:
    parts = _since_parts(request_of, call)
    if parts.is_day_file:
        return RequestKind.DAY_FILE
    if parts.unreadable:
        return RequestKind.UNKNOWN
    if not parts.starts:
        return RequestKind.END_ONLY if parts.ends else RequestKind.NO_SINCE
    if parts.ends:
        return RequestKind.WINDOW
    return RequestKind.START_TO_NOW if _depends_on_now(request_of, call) else RequestKind.START_ONLY


def _depends_on_now(request_of: RequestOf, call: CandleCall) -> bool:
    now, later = _fields(request_of, call), _fields(request_of, replace(call, now=call.now + DAY_MS))
    return any(later.get(name) != value and _last_part(name) not in _CLOCKS for name, value in now.items())


def _covered(request_of: RequestOf, call: CandleCall) -> int:
    """The number of candles from `since` on that the request covers. It is at most the limit of the call."""
    ends = _since_parts(request_of, call).ends
    widths = [call.limit if end >= call.now else _opens_before(call, end) for end in ends]
    return min([call.limit, *widths, *_counts(request_of, call)])


def _counts(request_of: RequestOf, call: CandleCall) -> list[int]:
    """The numbers in the request that depend on the limit and are not instants."""
    fields = _fields(request_of, call)
    with_another = _fields(request_of, replace(call, limit=_ANOTHER_LIMIT))
    return [
        int(value)
        for name, value in fields.items()
        if value != with_another.get(name) and value.isdecimal() and instant_of(value) is None
    ]


def _opens_before(call: CandleCall, end: int) -> int:
    """The number of candles that open at `since` or later and before `end`."""
    if (fixed := parse_timeframe(call.timeframe).fixed_ms) is not None:
        return -(-(end - call.since) // fixed)
    return sum(1 for count in range(call.limit) if shift(call.timeframe, call.since, count) < end)


def _honours_until(request_of: RequestOf, call: CandleCall) -> bool:
    """Whether `until` moves an end in the request. ccxt passes on parameters that it does not know, so a new field with
    the name `until` proves nothing.
    """
    until = shift(call.timeframe, call.since, max(2, call.limit // 2))
    length = parse_timeframe(call.timeframe).longest_ms
    without, fields = _fields(request_of, call), _fields(request_of, replace(call, until=until))
    return any(
        without.get(name) != value and (instant := instant_of(value)) is not None and abs(instant - until) <= length
        for name, value in fields.items()
        if name in without or _last_part(name) != "until"
    )


def _moved(call: CandleCall) -> CandleCall:
    """The same call for candles that open later, by whole candles and at least two days."""
    count = -(-2 * DAY_MS // parse_timeframe(call.timeframe).shortest_ms)
    return replace(call, since=shift(call.timeframe, call.since, count))


def _fields(request_of: RequestOf, call: CandleCall) -> Mapping[str, str]:
    request = request_of(call)
    return fields_of(request) if isinstance(request, HttpRequest) else {}


def fields_of(request: HttpRequest) -> dict[str, str]:
    """The parts of a request by name: `path/2`, `query/startTime`, `body/req/startTime`."""
    url = urlsplit(request.url)
    parts = {f"path/{index}": text for index, text in enumerate(url.path.split("/"))}
    parts |= {f"query/{name}": text for name, text in parse_qsl(url.query, keep_blank_values=True)}
    return parts | dict(_leaves("body", json.loads(request.body)) if request.body else ())


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in items:
            yield from _leaves(f"{name}/{key}", each)
    else:
        yield name, str(value)


def _last_part(name: str) -> str:
    return name.rpartition("/")[2]


def instant_of(text: str) -> int | None:
    """The instant that a part of a request names, in milliseconds. None if it names none.

    Understands seconds, milliseconds, microseconds and nanoseconds since the epoch, dates, and dates with a time.
    """
    if re.fullmatch(_DATE_OF_A_FILE, text):
        return _milliseconds(datetime.fromisoformat(text if len(text) > len("YYYY") else f"{text}0101"))
    if text.isdecimal():
        number = int(text)
        return next(
            (each for each in (number * 1000, *(number // 1000**n for n in range(3))) if _plausible(each)), None
        )
    try:
        found = _milliseconds(datetime.fromisoformat(text))
    except ValueError:
        return None
    return found if _plausible(found) else None


def _plausible(instant: int) -> bool:
    return _FIRST_INSTANT <= instant < _LAST_INSTANT


def _milliseconds(time: datetime) -> int:
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
