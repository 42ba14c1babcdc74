"""Random histories of a series, their ledger and daily counts computed period by period, and the stored ledger."""

import itertools
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from contracts.candles import Candle, CandlesCollected
from contracts.coverage import (
    ANSWERED_CLASSES,
    MINIMUM_LEVELS,
    WHOLE_CLASSES,
    Absence,
    AbsenceClass,
    Evidence,
    EvidenceKind,
    RejectedRow,
    Span,
    span_of,
    to_instant,
    to_milliseconds,
)
from contracts.timeframes import floor_open, shift

SLOTS = 40
"""Number of slots of a history."""
FIRST_OPEN_MS = to_milliseconds(datetime(2021, 3, 1, 12, tzinfo=UTC))
CHECKS_BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
"""After the last slot of every timeframe, and in the past: candle-writer refuses fetches of the future."""
EXCHANGE = "binance"


class SlotState(NamedTuple):
    """The knowledge about one slot."""

    close: float | None
    """The stored value; None: no candle is stored."""
    verified: bool
    absence: tuple[Any, ...] | None
    """Class, evidence, first seen, last checked, run id, level, proof and the time of the next check."""


Rejected = dict[tuple[datetime, str], tuple[Any, ...]]
"""Reason, first seen, last seen, times and run id, by open time and row."""


@dataclass(frozen=True)
class SeriesHistory:
    """An exchange's truth about one series, and the events of runs that read it."""

    symbol: str
    timeframe: str
    fills: bool
    """The exchange sends a candle for every slot."""
    opens: tuple[int, ...]
    """The open time of each slot, in milliseconds, and the end of the last one."""
    events: list[CandlesCollected] = field(default_factory=list)

    def span(self, first: int, last: int) -> Span:
        """From the slot `first` up to, but not including, the slot `last`."""
        return span_of((self.opens[first], self.opens[last]))


def a_history(rng: random.Random, number: int) -> SeriesHistory:
    """Fetches of every kind: pages, revisions, failures, rejected rows, events of version 1 and rows without a span."""
    timeframe, fills = rng.choice(("1m", "1m", "4h", "1w", "1M")), rng.random() < 0.5
    first = floor_open(timeframe, FIRST_OPEN_MS)
    opens = tuple(shift(timeframe, first, count) for count in range(SLOTS + 1))
    history = SeriesHistory(f"{'FILLS' if fills else 'OMITS'}{number}/USDT", timeframe, fills, opens)
    bad = set(rng.sample(range(SLOTS), rng.randint(0, 2)))
    silent = set() if fills else set(rng.sample(range(SLOTS), SLOTS // 2))
    runs = [UUID(int=rng.getrandbits(128)) for _ in range(6)]
    for second in range(rng.randint(4, 12)):
        # Rows of two events with the same time have no defined order, so only events without rows share a time.
        history.events.append(_an_event(rng, history, rng.choice(runs), 10.0 * second, bad, silent))
    return history


def _an_event(
    rng: random.Random, history: SeriesHistory, run_id: UUID, second: float, bad: set[int], silent: set[int]
) -> CandlesCollected:
    first = rng.randrange(SLOTS - 1)
    last = rng.randint(first + 1, min(SLOTS, first + 15))
    kind = rng.choice(("page", "page", "page", "failure", "version 1", "rows without a span"))
    values: dict[str, Any] = {}
    slots = [slot for slot in range(first, last) if slot not in bad]
    seen = [slot for slot in slots if slot not in silent]
    if kind != "failure":
        values["rows"] = tuple(Candle(history.opens[slot], 1.0, 9.0, 0.5, second, 3.0) for slot in seen)
    if kind == "page":
        values["verified"] = tuple(history.span(start, end) for start, end in _ranges(slots))
        values["rejected"] = tuple(_a_rejected_row(rng, history, slot) for slot in range(first, last) if slot in bad)
    if kind == "failure" or (kind == "page" and rng.random() < 0.5):
        values["absences"] = tuple(_an_absence(rng, history) for _ in range(rng.randint(1, 3)))
    if kind == "failure":
        second = 10.0 * rng.randint(0, 12) + 5
    if not any(values.values()):
        values["absences"] = (_an_absence(rng, history),)
    at = CHECKS_BEGIN + timedelta(seconds=second)
    return CandlesCollected(
        schema_version=1 if kind == "version 1" else 2,
        occurred_at=at,
        run_id=run_id,
        exchange=EXCHANGE,
        symbol=history.symbol,
        timeframe=history.timeframe,
        fetched_at=at,
        **values,
    )


def _ranges(slots: Sequence[int]) -> Iterator[tuple[int, int]]:
    for _, group in itertools.groupby(enumerate(slots), key=lambda pair: pair[1] - pair[0]):
        run = [slot for _, slot in group]
        yield run[0], run[-1] + 1


def _an_absence(rng: random.Random, history: SeriesHistory) -> Absence:
    first = rng.randrange(SLOTS - 1)
    span = history.span(first, rng.randint(first + 1, SLOTS))
    kind, evidence = rng.choice(list(AbsenceClass)), rng.choice(("empty answer", "deadline", "NUL \0 in the answer"))
    level = rng.randint(MINIMUM_LEVELS[kind], 7)
    proof = tuple(_a_proof(rng, level) for _ in range(rng.randrange(3)))
    again = rng.choice((None, CHECKS_BEGIN + timedelta(days=rng.randrange(3))))
    return Absence(
        start=span.start,
        end=span.end,
        absence_class=kind,
        evidence=evidence,
        level=level,
        proof=proof,
        recheck_at=again,
    )


def _a_proof(rng: random.Random, level: int) -> Evidence:
    kind = rng.choice(list(EvidenceKind))
    runs = tuple(UUID(int=rng.getrandbits(128)) for _ in range(rng.randrange(3)))
    return Evidence(level=level, kind=kind, asked="1m, 12:00", answered='[] "NUL \0', at=CHECKS_BEGIN, run_ids=runs)


def _a_rejected_row(rng: random.Random, history: SeriesHistory, slot: int) -> RejectedRow:
    opens = history.opens[slot]
    row = json.dumps([opens, 5, 4, 3, rng.choice((1, 2)), 0])
    return RejectedRow(open_time=to_instant(opens), reason=rng.choice(("high below open", "zero volume")), row=row)


# ---- the same ledger, slot by slot ----


def expected_slots(history: SeriesHistory, events: Iterable[CandlesCollected]) -> list[SlotState]:
    """The state of each slot after these events, in any order and with any repetition."""
    delivered = list(events)
    return [_expected_slot(history, slot, delivered) for slot in range(SLOTS)]


def _expected_slot(history: SeriesHistory, slot: int, events: Sequence[CandlesCollected]) -> SlotState:
    opens, closes = to_instant(history.opens[slot]), to_instant(history.opens[slot + 1])
    rows = [
        (event.fetched_at, row.close) for event in events for row in event.rows if row.open_ms == history.opens[slot]
    ]
    spans = [span for event in events for span in event.verified]
    if rows or any(span.start <= opens and closes <= span.end for span in spans):
        return SlotState(max(rows)[1] if rows else None, verified=True, absence=None)
    checks = [
        (
            each.level if each.absence_class in ANSWERED_CLASSES else 0,
            event.fetched_at - timedelta(days=each.absence_class in ("unread", "unknown") and each.level == 0),
            event.fetched_at,
            list(AbsenceClass).index(each.absence_class),
            _stored(each.evidence),
            event.run_id,
            each.level,
            _proof_of(each),
            to_milliseconds(each.recheck_at) if each.recheck_at else 0,
        )
        for event in events
        for each in event.absences
        if each.start <= opens and closes <= each.end
    ]
    if not checks:
        return SlotState(None, verified=False, absence=None)
    _, _, at, rank, evidence, run_id, level, proof, again = max(checks)
    first_seen = min(check[2] for check in checks)
    name = list(AbsenceClass)[rank].value
    return SlotState(None, False, (name, evidence, first_seen, at, run_id, level, proof, again))


def _proof_of(absence: Absence) -> str:
    documents = [each.model_dump(mode="json") for each in absence.proof]
    return json.dumps(documents, sort_keys=True, separators=(",", ":"), ensure_ascii=False) if documents else ""


DailyCounts = dict[date, tuple[int, int, int]]
"""The periods that are unverified between the first and the last verified one, whole, and answered, by day."""


def before_listing(slots: Sequence[SlotState]) -> range:
    """The slots of the first absence, if it is before a proved listing: no slot before it is verified."""
    first = next((number for number, slot in enumerate(slots) if slot.verified or slot.absence), len(slots))
    end = first
    while end < len(slots) and (found := slots[end].absence) is not None and found == slots[first].absence:
        if found[0] != "before_listing":
            break
        end += 1
    return range(first, end)


def expected_days(history: SeriesHistory, slots: Sequence[SlotState]) -> DailyCounts:
    """The days on which something is missing."""
    not_listed = before_listing(slots)
    found: dict[date, list[int]] = defaultdict(lambda: [0, 0, 0])
    known = [number for number, slot in enumerate(slots) if slot.verified]
    for number, slot in enumerate(slots):
        kind = slot.absence and slot.absence[0]
        if not slot.verified and number not in not_listed:
            counts = found[to_instant(history.opens[number]).date()]
            counts[0] += bool(known) and known[0] < number < known[-1]
            counts[1] += kind in WHOLE_CLASSES
            counts[2] += kind in ANSWERED_CLASSES
    return {day: (one, two, three) for day, (one, two, three) in found.items() if one or two or three}


def expected_rejections(events: Iterable[CandlesCollected]) -> Rejected:
    sights: dict[tuple[datetime, str], set[tuple[datetime, UUID, str]]] = defaultdict(set)
    for event in events:
        for each in event.rejected:
            sights[each.open_time, each.row].add((event.fetched_at, event.run_id, each.reason))
    return {key: _summary(seen) for key, seen in sights.items()}


def _summary(seen: set[tuple[datetime, UUID, str]]) -> tuple[Any, ...]:
    last, run_id, reason = max(seen)
    return reason, min(seen)[0], last, len({run for _, run, _ in seen}), run_id


def _stored(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


# ---- what is stored ----

_TABLES = {
    "candles": "SELECT series_id, open_time, close FROM candles",
    "coverage": "SELECT series_id, verified FROM coverage",
    "absences": "SELECT * FROM absences ORDER BY series_id, starts_at",
    "rejected": "SELECT * FROM rejected_candles",
    "days": "SELECT * FROM series_days",
    "counts": "SELECT * FROM series_counts",
}


class StoredLedger:
    """The tables of one snapshot, by symbol."""

    def __init__(self, symbols: dict[int, str], tables: dict[str, list[asyncpg.Record]]) -> None:
        self._tables = {name: self._by_symbol(symbols, rows) for name, rows in tables.items()}

    @classmethod
    async def read(cls, connection: asyncpg.Connection) -> "StoredLedger":
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            series = await connection.fetch("SELECT id, symbol FROM series")
            tables = {name: await connection.fetch(sql) for name, sql in _TABLES.items()}
        return cls({row["id"]: row["symbol"] for row in series}, tables)

    def slots(self, history: SeriesHistory) -> list[SlotState]:
        """The state of each slot. Raises AssertionError if absences overlap, or if equal neighbours are not merged."""
        closes = {to_milliseconds(row["open_time"]): row["close"] for row in self._of("candles", history)}
        spans = [each for row in self._of("coverage", history) for each in row["verified"]]
        absences = self._of("absences", history)
        for one, two in itertools.pairwise(absences):
            assert one["ends_at"] <= two["starts_at"], f"{one} and {two} overlap"
            assert one["ends_at"] < two["starts_at"] or _absence(one) != _absence(two), f"{one} and {two} are one"
        states = []
        for opens, closes_at in itertools.pairwise(history.opens):
            start, end = to_instant(opens), to_instant(closes_at)
            verified = any(each.lower <= start and end <= each.upper for each in spans)
            absent = next((_absence(row) for row in absences if row["starts_at"] <= start < row["ends_at"]), None)
            states.append(SlotState(closes.get(opens), verified, absent))
        return states

    def days(self, history: SeriesHistory) -> DailyCounts:
        """The daily counts. Raises AssertionError if the sums of the series are others, or if there is no row."""
        days = {row["day"]: (row["unverified"], row["whole"], row["answered"]) for row in self._of("days", history)}
        (sums,) = self._of("counts", history)
        assert (sums["unverified"], sums["whole"], sums["answered"]) == (
            *(sum(counts[column] for counts in days.values()) for column in range(3)),
        ), history.symbol
        absences = self._of("absences", history)
        assert sums["first_absence"] == min((row["starts_at"] for row in absences), default=None)
        final = [row["ends_at"] for row in absences if row["absence_class"] in ANSWERED_CLASSES]
        assert sums["answered_until"] == max(final, default=None)
        return days

    def rejections(self, history: SeriesHistory) -> Rejected:
        return {
            (row["open_time"], row["row"]): (
                *(row["reason"], row["first_seen"], row["last_seen"], row["times"], row["run_id"]),
            )
            for row in self._of("rejected", history)
        }

    def _of(self, table: str, history: SeriesHistory) -> list[asyncpg.Record]:
        return self._tables[table].get(history.symbol, [])

    @staticmethod
    def _by_symbol(symbols: dict[int, str], rows: list[asyncpg.Record]) -> dict[str, list[asyncpg.Record]]:
        found: dict[str, list[asyncpg.Record]] = defaultdict(list)
        for row in rows:
            found[symbols[row["series_id"]]].append(row)
        return found


def _absence(row: asyncpg.Record) -> tuple[Any, ...]:
    proof = json.loads(row["proof"]) if row["proof"] else None
    canonical = json.dumps(proof, sort_keys=True, separators=(",", ":"), ensure_ascii=False) if proof else ""
    again = to_milliseconds(row["recheck_at"]) if row["recheck_at"] else 0
    known = row["absence_class"], row["evidence"], row["first_seen"], row["last_checked"], row["run_id"]
    return *known, row["level"], canonical, again
