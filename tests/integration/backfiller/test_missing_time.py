"""The planner, the live progress, the closing of chunks and the dry run find the same missing time."""

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.backfills.targets import SeriesNames, WantedRange, read_targets
from backfiller.chunks import Chunk
from backfiller.closing import remaining
from backfiller.plans import read_demands
from backfiller.progress import read_progress
from backfiller.tables import ledgers_of
from contracts.coverage import AbsenceClass, to_instant, to_milliseconds
from contracts.pages import EARLIEST
from contracts.ranges import Purpose
from contracts.spans import Interval, Intervals, intersect, subtract, union
from runtime.database import driver_transaction
from support.backfilling.chunks import a_chunk
from support.backfilling.tables import store_backfill
from support.stored_ledgers import MINUTE, AbsentSpan, at, store_ledger, store_series

pytestmark = pytest.mark.postgres

NOW = at(150)
FINAL = {"no_trade", "outage", "before_listing", "delisted", "lost_at_source", "beyond_horizon", "lost"}
"""`lost` and `unproven` are names of earlier releases."""
GONE = {"lost_at_source", "beyond_horizon", "lost"}
CLASSES = sorted({*AbsenceClass, "lost", "unproven"})
_CHUNK = """
INSERT INTO backfill_chunks (series_id, exchange, config_id, backfill_id, purpose, starts_at, ends_at, next_attempt_at,
  state) VALUES ($1, 'kraken', 1, $2, 'backfill', $3, $4, now(), $5)
"""


@dataclass(frozen=True)
class Case:
    """A series with its random ledger, and a backfill of it."""

    names: SeriesNames
    start: int | None
    end: int
    mode: Any
    source: Any
    verified: Intervals
    absent: tuple[AbsentSpan, ...]
    chunks: tuple[tuple[Interval, str], ...]
    """The chunks of the backfill with their states. They do not overlap."""

    @property
    def target(self) -> Interval | None:
        """The range that can be collected."""
        ends = [self.end, NOW, *(end for _, end in self.verified[-1:])]
        start = to_milliseconds(EARLIEST) if self.start is None else self.start
        return (start, min(ends)) if start < min(ends) else None

    def spans_of(self, *states: str) -> list[Interval]:
        return [span for span, state in self.chunks if state in states]

    @property
    def missing(self) -> Intervals:
        if self.target is None:
            return ()
        if self.mode == "all":
            return subtract([self.target], self.spans_of("verified", "classified"))
        return subtract([self.target], [*self.verified, *((a.start, a.end) for a in self.absent if self.answers(a))])

    def answers(self, absence: AbsentSpan) -> bool:
        """Whether the absence says that nothing can be collected in its time, and is not due for another check."""
        due = absence.recheck_at is not None and absence.recheck_at <= NOW
        from_trades = self.source == "trades" and absence.absence_class in GONE
        return absence.absence_class in FINAL and not due and not from_trades


def a_span(rng: random.Random) -> Interval:
    start, end = sorted(rng.sample(range(200), 2))
    return at(start), at(end)


def a_case(rng: random.Random, number: int) -> Case:
    verified = union(a_span(rng) for _ in range(rng.randrange(4)))
    absent: list[AbsentSpan] = []
    chunks: list[tuple[Interval, str]] = []
    for _ in range(rng.randrange(8)):
        taken = [*verified, *((each.start, each.end) for each in absent)]
        kind, recheck = rng.choice(CLASSES), rng.choice([None, at(149), NOW, at(151)])
        absent += [AbsentSpan(start, end, kind, recheck) for start, end in subtract([a_span(rng)], taken)]
    for _ in range(rng.randrange(4)):
        state = rng.choice(["verified", "classified", "cancelled", "waiting", "requested", "failed"])
        chunks += [(free, state) for free in subtract([a_span(rng)], [span for span, _ in chunks])]
    start, end = a_span(rng)
    mode, source = rng.choice([("missing", "candles"), ("missing", "trades"), ("all", "candles")])
    names = SeriesNames("kraken", f"S{number}/USD", "1m", 1)
    begins = None if source == "candles" and rng.random() < 0.2 else start
    return Case(names, begins, end, mode, source, verified, tuple(absent), tuple(chunks))


async def store(engine: AsyncEngine, case: Case) -> tuple[int, int]:
    """Returns the ids of the series and of the backfill."""
    names = {name: str(getattr(case.names, name)) for name in ("exchange", "symbol", "timeframe")}
    series_id = await store_series(engine, **names)
    await store_ledger(engine, series_id, case.verified, case.absent)
    starts_at = None if case.start is None else to_instant(case.start)
    backfill_id = await store_backfill(engine, starts_at, to_instant(case.end), case.mode, source=case.source, **names)
    rows = [(series_id, backfill_id, *map(to_instant, span), state) for span, state in case.chunks]
    async with driver_transaction(engine) as connection:
        await connection.executemany(_CHUNK, rows)
    return series_id, backfill_id


def a_chunk_of(case: Case, series_id: int) -> Chunk | None:
    """A chunk of the whole target. None: there is no target, or another rule closes its chunks."""
    if case.target is None or case.mode == "all":
        return None
    purpose = Purpose.TRADES if case.source == "trades" else Purpose.BACKFILL
    return a_chunk(case.target, id=series_id, series_id=series_id, purpose=purpose)


async def test_all_readers_find_the_same_missing_time_in_random_ledgers(engine: AsyncEngine) -> None:
    rng, now = random.Random(1), to_instant(NOW)
    cases = [a_case(rng, number) for number in range(60)]
    ids = [await store(engine, case) for case in cases]
    assert sum(bool(case.missing) for case in cases) > 30
    chunks = [chunk for case, (number, _) in zip(cases, ids, strict=True) if (chunk := a_chunk_of(case, number))]
    async with driver_transaction(engine) as connection:
        demands = await read_demands(connection, [series_id for series_id, _ in ids], now, timedelta())
        progress = {each.backfill_id: each for each in await read_progress(connection, [each for _, each in ids], now)}
        ledgers = await ledgers_of(connection, chunks, now)
    rest = {each.series_id: remaining("1m", each.span, ledgers[each.id]) for each in chunks}
    for case, (series_id, backfill_id) in zip(cases, ids, strict=True):
        planned = [demand.missing for _, demand in demands.get(series_id, [])]
        found = progress.get(backfill_id)
        owned = case.spans_of("waiting", "requested", "failed")
        assert planned == ([] if case.target is None else [subtract(case.missing, owned)]), case
        assert (found is None) == (case.target is None), case
        assert found is None or found.missing_candles == sum((end - start) // MINUTE for start, end in case.missing)
        assert await dry_run(engine, case, backfill_id) == case.missing, case
        if series_id in rest:
            assert rest[series_id] == case.missing, case


async def dry_run(engine: AsyncEngine, case: Case, backfill_id: int) -> Intervals:
    """The missing time in the API. The absences that it shows as final do not overlap it."""
    start = None if case.start is None else to_instant(case.start)
    wanted = WantedRange(start, to_instant(case.end), case.mode, case.source, backfill_id)
    async with engine.connect() as connection:
        [target] = await read_targets(connection, [case.names], wanted, to_instant(NOW))
    assert target.span == case.target
    if case.mode == "missing":
        assert not intersect(target.missing, [each.span for each in target.absences]), case
    return target.missing


async def test_a_series_that_was_never_read_is_missing_in_the_progress(engine: AsyncEngine) -> None:
    backfill_id = await store_backfill(engine, to_instant(at(0)), to_instant(at(100)))
    async with driver_transaction(engine) as connection:
        [found] = await read_progress(connection, [backfill_id], to_instant(NOW))
    assert (found.candles, found.missing_candles, found.is_whole) == (100, 100, False)
