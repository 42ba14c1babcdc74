"""GET /completeness by day: its numbers are those of a count minute by minute."""

import random
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from admin_api.app import AdminApi
from admin_api.coverage.completeness import completeness_of
from admin_api.coverage.completeness_schemas import Completeness, CompletenessQuery
from candle_writer.recount import recount_outdated
from contracts.coverage import ANSWERED_CLASSES, SETTLE_TIME, WHOLE_CLASSES, AbsenceClass, to_milliseconds
from contracts.timeframes import DAY_MS, close_of, floor_open
from support.api import created
from support.stored_ledgers import AbsentSpan, store_ledger, store_series

pytestmark = pytest.mark.postgres

NOW = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
FIRST, END = date(2026, 8, 20), date(2026, 11, 23)
MINUTE_MS = 60_000
START_MS = to_milliseconds(datetime(2026, 8, 20, tzinfo=UTC))
MINUTES = (END - FIRST).days * 24 * 60
SETTLED = (to_milliseconds(NOW - SETTLE_TIME) - START_MS) // MINUTE_MS
TIMEFRAMES = ["1m", "5m", "1h", "4h", "1d", "1w", "1M"]
EXCHANGES = ["binance", "bybit", "okx"]
Counts = Counter[tuple[int, str]]
"""Numbers of periods by day since the epoch and kind."""


def at(minute: int) -> int:
    return START_MS + minute * MINUTE_MS


def edges_of(timeframe: str, first: int) -> list[int]:
    edges = [first]
    while edges[-1] < at(MINUTES):
        edges.append(close_of(timeframe, edges[-1]))
    return edges


class MinuteByMinute:
    """One series as a list of its minutes. It shares no code with the counts."""

    def __init__(self, rng: random.Random, number: int) -> None:
        self.names = {
            "exchange": rng.choice(EXCHANGES),
            "symbol": f"S{number}/USDT",
            "timeframe": rng.choice(TIMEFRAMES),
        }
        self.is_collected = rng.random() < 0.5
        self.minutes: list[str | None] = [None] * MINUTES
        for _ in range(rng.randrange(6)):
            self._fill(rng, "verified")
        for _ in range(rng.randrange(4)):
            self._fill(rng, rng.choice([*AbsenceClass, *sorted(ANSWERED_CLASSES)]))
        known = [number for number, kind in enumerate(self.minutes) if kind is not None]
        verified = [number for number in known if self.minutes[number] == "verified"]
        timeframe = self.names["timeframe"]
        self.edges = edges_of(timeframe, floor_open(timeframe, START_MS))
        self.candles = [each for each in self.edges if verified and at(verified[0]) <= each < at(verified[-1])]
        if known and not self.candles:  # the first known minute decides when periods open
            if timeframe == "1M":
                self.minutes = [None] * MINUTES
            else:
                length = self.edges[1] - self.edges[0]
                opens = at((verified or known)[0])
                self.edges = edges_of(timeframe, opens - -(-(opens - START_MS) // length) * length)

    def _fill(self, rng: random.Random, kind: str) -> None:
        start = rng.randrange(SETTLED - 1)
        length = rng.choice([1, 3, 60, 1440, 3000, 20_000, 60_000])
        for minute in range(start, min(SETTLED, start + length)):
            if self.minutes[minute] is None:
                self.minutes[minute] = kind

    def spans(self) -> list[tuple[int, int, str]]:
        found: list[tuple[int, int, str]] = []
        for number, kind in enumerate(self.minutes):
            if kind is None:
                continue
            if found and found[-1][1:] == (at(number), kind):
                found[-1] = (found[-1][0], at(number + 1), kind)
            else:
                found.append((at(number), at(number + 1), kind))
        return found

    async def store(self, api: AdminApi, client: httpx.AsyncClient) -> None:
        first, last = (self.candles[0], self.candles[-1]) if self.candles else (None, None)
        series_id = await store_series(api.engine, first, last, **self.names)
        absent = [AbsentSpan(*span) for span in self.spans() if span[2] != "verified"]
        await store_ledger(api.engine, series_id, [span[:2] for span in self.spans() if span[2] == "verified"], absent)
        if self.is_collected:
            config = {name: self.names[name] for name in ("exchange", "symbol")}
            await created(client, **config, timeframes=[self.names["timeframe"]])

    def counts(self) -> Counts:
        known = [number for number, kind in enumerate(self.minutes) if kind is not None]
        final = [number for number in known if self.minutes[number] in {"verified", *ANSWERED_CLASSES}]
        end = max([each + 1 for each in final[-1:]] + ([SETTLED] if self.is_collected else []), default=0)
        found: Counts = Counter()
        for opens, closes in zip(self.edges, self.edges[1:], strict=False):
            first, last = (opens - START_MS) // MINUTE_MS, (closes - START_MS) // MINUTE_MS
            if not known or first < known[0] or last > end:
                continue
            kinds = set(self.minutes[first:last])
            found[opens // DAY_MS, "closed"] += 1
            found[opens // DAY_MS, "verified"] += kinds <= {"verified"}
            found[opens // DAY_MS, "whole"] += kinds <= {"verified", *WHOLE_CLASSES}
            found[opens // DAY_MS, "answered"] += kinds <= {"verified", *ANSWERED_CLASSES}
        return found


async def read(api: AdminApi, **parameters: Any) -> list[Completeness]:
    """All pages."""
    rows: list[Completeness] = []
    cursor = None
    while True:
        page, cursor = await completeness_of(api.engine, CompletenessQuery(**parameters, cursor=cursor), NOW)
        rows += page
        if cursor is None:
            return rows


def days_of(row: Completeness) -> Counts:
    """The numbers of a row by day. Raises AssertionError if the row has other sums."""
    found: Counts = Counter()
    assert row.days is not None
    for each in row.days:
        day = (each.day - date(1970, 1, 1)).days
        for kind in ("closed", "verified", "whole", "answered"):
            found[day, kind] = getattr(each, f"{kind}_periods")
        assert (each.whole, each.answered) == (
            each.whole_periods / each.closed_periods,
            each.answered_periods / each.closed_periods,
        )
    for kind in ("closed", "verified", "whole", "answered"):
        assert getattr(row, f"{kind}_periods") == sum(each for (_, of), each in found.items() if of == kind)
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_the_numbers_of_each_day_are_those_minute_by_minute(
    api: AdminApi, client: httpx.AsyncClient, seed: int
) -> None:
    rng = random.Random(seed)
    many = [MinuteByMinute(rng, number) for number in range(25)]
    for each in many:
        await each.store(api, client)
    await recount_outdated(api.engine, lambda _: None)
    models = [(each.names, each.counts()) for each in many]
    lengths = [1, 7, 95]
    for first in (FIRST, FIRST + timedelta(days=rng.randrange(80))):
        limits = {"start": first, "end": min(END, first + timedelta(days=rng.choice(lengths))), "per_day": True}
        await check(api, models, limits, limit=rng.choice([2, 1000]))
    assert sum(len(counts) for _, counts in models) > 1000


async def check(
    api: AdminApi, models: list[tuple[dict[str, str], Counts]], limits: dict[str, Any], *, limit: int
) -> None:
    first, end = ((limits[name] - date(1970, 1, 1)).days for name in ("start", "end"))
    expected: dict[tuple[str, ...], Counts] = defaultdict(Counter)
    for names, counts in models:
        part = Counter({key: number for key, number in counts.items() if first <= key[0] < end})
        for group in ((), (names["exchange"],), tuple(names.values())):
            expected[group] += part
    for group_by, columns in (("total", ()), ("exchange", ("exchange",)), ("series", tuple(models[0][0]))):
        for row in await read(api, group_by=group_by, limit=limit, **limits):
            group = tuple(getattr(row, name) for name in columns)
            assert +days_of(row) == +expected[group], (group_by, group)


async def test_without_an_end_the_days_go_up_to_today_on_all_pages(api: AdminApi, client: httpx.AsyncClient) -> None:
    for symbol in ("A/USDT", "B/USDT"):
        await created(client, symbol=symbol, timeframes=["1h"])
        series_id = await store_series(api.engine, symbol=symbol, timeframe="1h")
        await store_ledger(api.engine, series_id, [(START_MS, to_milliseconds(NOW))])
    await recount_outdated(api.engine, lambda _: None)
    query = CompletenessQuery(group_by="series", per_day=True, start=date(2026, 11, 21), limit=1)
    [one], cursor = await completeness_of(api.engine, query, NOW)
    later = NOW + timedelta(hours=14)
    [two], _ = await completeness_of(api.engine, query.model_copy(update={"cursor": cursor}), later)
    assert [[each.day.day for each in row.days or ()] for row in (one, two)] == [[21, 22], [21, 22, 23]]
    [by_config, _] = await read(api, group_by="config", per_day=True, start=date(2026, 11, 21))
    assert by_config.days == one.days
    assert [each.verified_periods for each in one.days or ()] == [24, 12]


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({}, "must be given with per_day"),
        ({"start": "2025-01-01", "end": "2026-01-03"}, "at most 366 days"),
        ({"start": "2999-01-01"}, "must be before end"),
        ({"start": "2025-01-01", "end": "2024-01-01"}, "must be before end"),
    ],
)
async def test_errors_of_days_say_what_to_do(client: httpx.AsyncClient, params: dict[str, str], problem: str) -> None:
    response = await client.get("/completeness", params={"per_day": "true"} | params)
    assert (response.status_code, problem in response.text) == (422, True), response.text


async def test_an_empty_store_has_no_days(client: httpx.AsyncClient) -> None:
    params = {"per_day": "true", "start": "2025-01-01", "end": "2025-01-03"}
    assert [row["days"] for row in (await client.get("/completeness", params=params)).json()] == [[]]
    assert [row["days"] for row in (await client.get("/completeness", params={"start": "2025-01-01"})).json()] == [None]
