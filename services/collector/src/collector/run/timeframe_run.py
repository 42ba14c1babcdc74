"""Collects one timeframe of a run: page after page, as its reader requests them, until the exchange fails."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from collector.candles.invented_rows import without_invented_rows
from collector.candles.page_requests import PageRequest, Proof, ReadingLimits
from collector.candles.pages import BadRow, Page, SeriesCalendar, UnusableAnswer, read_page
from collector.candles.range_reading import RangeReader
from collector.candles.reading import SeriesReader
from collector.candles.unfinished_rows import without_unfinished_row
from collector.exchange.client import ExchangeClient
from collector.exchange.client_options import CandleResponse
from collector.exchange.failures import ExchangeFailure
from collector.run.retrying import Retrier
from contracts.bounds import MAX_NOTE_LENGTH, shortened
from contracts.candles import Activity, Candle
from contracts.coverage import (
    MAX_REJECTED_ROWS_PER_RESULT,
    MAX_SPANS_PER_RESULT,
    Absence,
    AbsenceClass,
    Evidence,
    EvidenceKind,
    RejectedRow,
    SeriesProgress,
    Span,
    span_of,
    to_instant,
    to_milliseconds,
)
from contracts.runs import MAX_NOTES, TimeframeResult
from contracts.spans import Interval, Intervals, subtract, union
from contracts.vocabulary import CandleSource, ErrorClass


@dataclass(frozen=True)
class Answer:
    """The part of one answer that is published."""

    fetched_at: datetime
    candles: tuple[Candle, ...]
    """The closed candles that no earlier answer of the run had with the same values. Ascending, without duplicates."""
    proof: Proof
    activity: Mapping[int, Activity] = field(default_factory=dict)
    """The activity of these candles, as in `Page`."""


@dataclass
class TimeframeRun:
    """Progress of one timeframe within a run. It counts even if collecting fails later."""

    symbol: str
    timeframe: str
    progress: SeriesProgress
    answers: list[Answer] = field(default_factory=list)
    reader: SeriesReader | None = None
    """None before the first request."""
    checked_at: datetime | None = None
    """The start of the reading. None before the first request."""
    failure: ExchangeFailure | None = None
    published: Candle | None = None
    """The newest candle that earlier runs of this process have published."""
    is_range: bool = False
    """Whether the run reads only the pending spans of the progress."""
    source: CandleSource = CandleSource.EXCHANGE
    """The origin of all candles of the run."""
    built: Intervals = ()
    """The time that trades prove. Only a run that reads trades sets this."""
    trade_pages: int = 0
    found: list[Absence] = field(default_factory=list)
    """Absences with evidence, in any order. Only a run for evidence sets this."""
    evidence_requests: int = 0
    invented: list[Interval] = field(default_factory=list)
    """The time of invented rows: rows without a trade, of a market that is no longer traded. They are not stored."""
    not_traded_since: datetime | None = None
    notes: list[str] = field(default_factory=list)
    """Remarks for the reader of the run log. They are not failures."""
    _collected: dict[int, Candle] = field(default_factory=dict)

    def add(self, response: CandleResponse, page: Page, proof: Proof) -> None:
        """Add the candles that are new or have other values than before: pages overlap."""
        new = tuple(candle for candle in page.closed if self._collected.get(candle.open_ms) != candle)
        self._collected |= {candle.open_ms: candle for candle in new}
        if new or proof.verified or proof.rejected:
            self.answers.append(Answer(response.fetched_at, new, proof, page.activity))

    def drop(self) -> None:
        """Drop all answers, because Kafka has not acknowledged them."""
        self.answers.clear()
        self._collected.clear()
        self.found.clear()
        self.invented.clear()
        self.reader, self.built = None, ()

    def absences(self) -> list[Absence]:
        """The spans that the run could not verify, ascending."""
        if self.found:
            return sorted(self.found, key=lambda absence: absence.start)
        found = [] if self.reader is None else self.reader.absences()
        absences = [
            Absence(start=to_instant(start), end=to_instant(end), absence_class=absence_class, evidence=evidence)
            for span, absence_class, evidence in found
            for start, end in subtract([span], self.invented)
        ]
        return sorted([*absences, *self._delisted()], key=lambda absence: absence.start)

    def _delisted(self) -> Iterator[Absence]:
        """The time in which the exchange sent rows although the market was not traded."""
        if self.not_traded_since is None or self.checked_at is None:
            return
        evidence = Evidence(
            level=3,
            kind=EvidenceKind.MARKETS,
            asked="the list of markets",
            answered=f"{self.symbol} is not traded, since {self.not_traded_since:%Y-%m-%d %H:%M} UTC or earlier",
            at=self.checked_at,
        )
        for start, end in union(self.invented):
            yield Absence(
                start=to_instant(start),
                end=to_instant(end),
                absence_class=AbsenceClass.DELISTED,
                evidence="the exchange sends rows without a trade of a market that it no longer trades",
                level=evidence.level,
                proof=(evidence,),
            )

    def _notes_on_reading(self, absences: list[Absence]) -> Iterator[str]:
        is_first = self.progress.anchor is None and self.reader is not None and self.reader.anchor is not None
        if is_first and not self._collected:
            yield "no candle of the newest page has closed yet: the next run reads on from its first candle"
        yield from map(_note, absences[-1:])

    @property
    def newest(self) -> Candle | None:
        """The newest collected candle."""
        return self._collected[max(self._collected)] if self._collected else None

    @property
    def newest_open(self) -> int | None:
        """The open time of the newest collected candle, in milliseconds. None if there is none."""
        return None if self.newest is None else self.newest.open_ms

    def result(self) -> TimeframeResult:
        reader, collected = self.reader, self._collected
        anchor = reader.anchor if reader is not None else None
        absences = [each for each in self.absences() if each.absence_class is not AbsenceClass.DELISTED]
        notes = [*self.notes, *self._notes_on_reading(absences)]
        rejected = () if reader is None else tuple(sorted(reader.rejected.values(), key=lambda row: row.opens))
        return TimeframeResult(
            timeframe=self.timeframe,
            candles=len(collected),
            pages=self.evidence_requests + self.trade_pages if reader is None else reader.pages,
            first_open=to_instant(min(collected)) if collected else None,
            last_open=to_instant(max(collected)) if collected else None,
            error_class=self.failure.error_class if self.failure else None,
            error_message=shortened(self.failure.message) if self.failure else None,
            notes=tuple(shortened(note, MAX_NOTE_LENGTH) for note in notes[-MAX_NOTES:]),
            anchor=None if anchor is None else to_instant(anchor),
            verified=_newest(reader.verified if reader is not None else self.built),
            requested=_newest(reader.requested) if reader is not None else (),
            lost=_newest(reader.lost) if reader is not None else (),
            open_hole=absences[-1] if absences else None,
            rejected=tuple(map(rejected_row, rejected[:MAX_REJECTED_ROWS_PER_RESULT])),
            rejected_count=len(rejected),
        )


async def collect_timeframe(
    client: ExchangeClient, timeframe_run: TimeframeRun, retrier: Retrier, limits: ReadingLimits, salt: int
) -> None:
    """Read the series as far as the reader requests. Raises `ExchangeFailure` if the exchange fails.

    `salt`: a number that differs between runs, see `SeriesReader`.
    """
    symbol, timeframe = timeframe_run.symbol, timeframe_run.timeframe
    loop = asyncio.get_running_loop()
    started = loop.time()
    available = max(0.001, retrier.deadline - started)
    await retrier.retry_until_deadline(lambda: client.require(symbol, timeframe))
    timeframe_run.checked_at = to_instant(client.now_ms())
    reader_of = RangeReader if timeframe_run.is_range else SeriesReader
    reader = timeframe_run.reader = reader_of(
        client.traits,
        timeframe_run.progress,
        client.page_limit(symbol, timeframe),
        client.now_ms(),
        limits=limits,
        honours_until=client.honours_until(symbol),
        salt=salt,
    )
    while (request := reader.next_request(client.now_ms(), (loop.time() - started) / available)) is not None:

        async def read(request: PageRequest = request) -> tuple[CandleResponse, Page]:
            return await read_candles(client, symbol, request, reader.calendar)

        response, page = await retrier.retry_until_deadline(read)
        timeframe_run.not_traded_since = since = client.not_traded_since(symbol)
        settled_at = response.as_of_ms - limits.settle_ms
        page = without_unfinished_row(page, reader.calendar, timeframe_run.published, settled_at)
        page, invented = without_invented_rows(page, reader.calendar, None if since is None else to_milliseconds(since))
        timeframe_run.invented += [] if invented is None else [invented]
        timeframe_run.add(response, page, reader.receive(page, response.as_of_ms))


async def read_candles(
    client: ExchangeClient, symbol: str, request: PageRequest, calendar: SeriesCalendar
) -> tuple[CandleResponse, Page]:
    """One page of candles. Raises `ExchangeFailure`."""
    response = await client.fetch(symbol, request.timeframe, request.since, request.limit, request.until)
    try:
        page = read_page(
            client.traits,
            calendar,
            response.rows,
            since=request.since,
            now=response.as_of_ms,
            is_time_confirmed=response.is_time_confirmed,
        )
    except UnusableAnswer as error:
        message = f"{client.exchange} sent invalid {request.timeframe} candles: {error}"
        raise ExchangeFailure(ErrorClass.INVALID_DATA, message, retryable=True) from error
    return response, page


def _newest(spans: Intervals) -> tuple[Span, ...]:
    """The newest spans, up to the limit of an event. Later runs read the time of the older spans again, which only
    costs requests.
    """
    return tuple(map(span_of, spans[-MAX_SPANS_PER_RESULT:]))


def rejected_row(row: BadRow) -> RejectedRow:
    return RejectedRow(open_time=to_instant(row.opens), reason=row.reason, row=row.row)


def _note(absence: Absence) -> str:
    start, end = f"{absence.start:%Y-%m-%d %H:%M}", f"{absence.end:%Y-%m-%d %H:%M}"
    return f"not verified from {start} to {end} UTC ({absence.absence_class}): {absence.evidence}"
