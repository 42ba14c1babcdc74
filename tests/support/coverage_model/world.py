"""Plays a history: the scheduler's progress, the collector's reader and a ledger against the odd exchange."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from collector.candles.page_requests import ReadingLimits
from collector.candles.pages import UnusableAnswer, read_page
from collector.candles.reading import SeriesReader
from collector.exchange.client_options import CandleResponse
from collector.exchange.traits import ExchangeTraits
from collector.run.timeframe_run import Answer, TimeframeRun
from contracts.coverage import SeriesProgress, to_instant, to_milliseconds
from contracts.runs import TimeframeResult
from contracts.spans import union
from contracts.timeframes import floor_open, shift, shortest_length
from scheduler.progress import (
    NO_PROGRESS,
    ForTick,
    Progress,
    Series,
    after_result,
    for_tick,
    from_events,
    must_be_stored,
    to_event,
)
from support.coverage_model.histories import START_MS, Fate, History, Step
from support.coverage_model.invariants import (
    Disagreement,
    check_bound,
    check_lost,
    check_message,
    check_series,
    describe,
)
from support.coverage_model.ledger import Collected, Ledger
from support.coverage_model.odd_exchange import OddExchange, RequestFailed, Weather
from support.coverage_model.truth import MINUTE_MS, SeriesTruth, truth_of

HOUR_MS: Final = 3_600_000
DAY_MINUTES: Final = 1440
RECOVERY_PAGES: Final = 100
NARROWEST_PAGE: Final = 3
"""With narrower pages, runs do not keep up, because pages overlap by one or two candles. They still lose no candle."""
RECOVERY_LAG_RUNS: Final = 6
"""After the history, a candle must be stored by the run that is this number of runs after its close."""
SETTLE_MS: Final = 600_000
_ATTEMPTS: Final = 2
"""The collector's retries of one request within a run."""


@dataclass(frozen=True)
class Rules:
    """The code under test. A test of the model replaces a part of it by a wrong one."""

    reader: type[SeriesReader] = SeriesReader
    after_result: Callable[..., Series] = after_result
    for_tick: Callable[..., ForTick] = for_tick


@dataclass(frozen=True)
class SeriesRun:
    """The messages about one series of a run."""

    result: TimeframeResult
    collected: tuple[Collected, ...]
    finished_at: int


@dataclass
class Scheduler:
    """The progress of one config. A restart restores the last stored state."""

    rules: Rules
    interval_minutes: int
    catch_up_ms: int
    progress: Progress = NO_PROGRESS
    stored: tuple[SeriesProgress, ...] = ()
    known_from: dict[str, int] = field(default_factory=dict)
    """The first anchor per timeframe. From here on, nothing may be forgotten."""
    stored_known_from: dict[str, int] = field(default_factory=dict)

    def tick(self, timeframes: tuple[str, ...], now: int) -> dict[str, SeriesProgress]:
        ticks = {
            each: self.rules.for_tick(each, self.progress.of(each), now=now, limit_ms=self.catch_up_ms)
            for each in timeframes
        }
        self._store()
        return {each: to_event(each, tick.series) for each, tick in ticks.items()}

    def finished(self, run: SeriesRun, now: int) -> None:
        timeframe, before = run.result.timeframe, self.progress.of(run.result.timeframe)
        after = self.rules.after_result(
            before, run.result, finished_at=run.finished_at, now=now, interval_ms=self.interval_minutes * MINUTE_MS
        )
        self.progress = self.progress.updated({timeframe: after})
        if after.anchor is not None:
            reported = run.result.anchor  # later than the scheduler's anchor if its clock is behind
            self.known_from.setdefault(timeframe, max(after.anchor, to_milliseconds(reported or to_instant(0))))
        if must_be_stored(before, after):
            self._store()

    def restart(self) -> None:
        self.progress, self.known_from = from_events(self.stored), dict(self.stored_known_from)

    def _store(self) -> None:
        self.stored = tuple(to_event(timeframe, series) for timeframe, series in self.progress)
        self.stored_known_from = dict(self.known_from)


@dataclass
class World:
    """All state of a history."""

    history: History
    rules: Rules
    exchange: OddExchange
    traits: ExchangeTraits
    scheduler: Scheduler
    timeframes: tuple[str, ...]
    ledgers: dict[str, Ledger]
    max_pages: int
    now: int = START_MS
    runs: int = 0
    last_tick: dict[str, SeriesProgress] = field(default_factory=dict)
    held: list[SeriesRun] = field(default_factory=list)
    """Runs whose messages arrive after those of the next run."""

    @classmethod
    def of(cls, history: History, rules: Rules) -> "World":
        recovery = recovery_interval(history) * recovery_runs(history) if history.recovers else 0
        end = START_MS + MINUTE_MS * (sum(step.wait_minutes for step in history.steps) + recovery + 1)
        series = {
            timeframe: _truth(history, timeframe, index, end) for index, timeframe in enumerate(history.all_timeframes)
        }
        return cls(
            history=history,
            rules=rules,
            exchange=OddExchange(history.behaviour, series),
            traits=_traits(history),
            scheduler=Scheduler(rules, history.interval_minutes, history.catch_up_hours * HOUR_MS),
            timeframes=history.timeframes,
            max_pages=history.max_pages,
            ledgers={timeframe: Ledger() for timeframe in history.all_timeframes},
        )

    # ---- after the history ----

    def recover(self) -> int:
        """Play regular runs without disturbances until all offered candles are stored. Returns the number of runs.

        Raises `Disagreement` if this takes longer than the bound.
        """
        interval = recovery_interval(self.history)
        started = self.now
        self.scheduler.interval_minutes, self.max_pages = interval, max(self.history.max_pages, RECOVERY_PAGES)
        for run in range(1, recovery_runs(self.history) + 1):
            self.play(Step(wait_minutes=interval))
            closed_by = min(self.now - SETTLE_MS, max(started, self.now - RECOVERY_LAG_RUNS * interval * MINUTE_MS))
            missing = {each: self._missing(each, closed_by) for each in self.timeframes}
            if not any(missing.values()):
                return run
        raise Disagreement(f"still missing after {run} runs: {describe(missing)}")

    def _missing(self, timeframe: str, closed_by: int) -> list[int]:
        """The candles that were closed at this time, that the exchange still offers, and that are not stored."""
        truth, ledger, history = self.exchange.series[timeframe], self.ledgers[timeframe], self.history
        longest_lag = max(step.weather.lag_minutes for step in history.steps) * MINUTE_MS
        known_from = self.scheduler.known_from.get(timeframe)
        if history.behaviour.width < NARROWEST_PAGE:
            return []
        if known_from is None:  # the first run must find at least the newest candle, if it is within its page
            known_from = shift(timeframe, floor_open(timeframe, self.now), -(history.behaviour.width // 2))
        offered = self.exchange.offered(
            timeframe, known_from, history.page_limit, self.now, knows_until=history.knows_until
        )
        return [
            at
            for at in offered
            if truth.close_of(at) <= closed_by
            and truth.late.get(at, 0) + longest_lag <= SETTLE_MS
            and (at not in ledger.stored or at in ledger.unfinished)
        ]

    # ---- one step ----

    def play(self, step: Step) -> None:
        self._change(step)
        progress = self._tick(step)
        runs = [self._run(each, progress[each], step) for each in self.timeframes]
        self.runs += 1
        held, self.held = self.held, []
        match step.fate:
            case Fate.DELIVERED:
                self._deliver(runs, step)
            case Fate.LOST:
                self._store(runs)
            case Fate.LATE:
                self._store(runs)
                self.held = runs
            case Fate.TWICE:
                self._deliver(runs, step)
                self.held = runs
            case Fate.KILLED:
                pass
        self._store(held)
        self._deliver(held, step)
        for timeframe, ledger in self.ledgers.items():
            check_series(self.exchange.series[timeframe], ledger, self.scheduler)

    def _change(self, step: Step) -> None:
        self.now += step.wait_minutes * MINUTE_MS
        if step.restart:
            self.scheduler.restart()
        if step.timeframes is not None:
            self.timeframes = step.timeframes
        if step.interval_minutes is not None:
            self.scheduler.interval_minutes = step.interval_minutes

    def _tick(self, step: Step) -> dict[str, SeriesProgress]:
        fresh = self.scheduler.tick(self.timeframes, self.now + step.clock_error_minutes * MINUTE_MS)
        if step.manual:
            return {each: SeriesProgress(timeframe=each) for each in self.timeframes}
        tick = {each: self.last_tick.get(each, fresh[each]) for each in fresh} if step.stale else fresh
        self.last_tick = {**self.last_tick, **fresh}
        return tick

    def _run(self, timeframe: str, progress: SeriesProgress, step: Step) -> SeriesRun:
        history, weather, now = self.history, step.weather, self.now
        run = TimeframeRun("BTC/USDT", timeframe, progress)
        run.reader = reader = self.rules.reader(
            self.traits,
            progress,
            history.page_limit,
            now,
            limits=ReadingLimits(max_pages=self.max_pages, settle_ms=SETTLE_MS),
            honours_until=self.history.knows_until,
            salt=self.runs,
        )
        requests, failures = 0, 0
        while requests != step.cut_after and failures < _ATTEMPTS and (request := reader.next_request(now)) is not None:
            requests += 1
            check_bound(requests, self.max_pages)
            try:
                rows = self.exchange.answer(timeframe, request.since, request.limit, request.until, now, weather)
                page = read_page(self.traits, reader.calendar, rows, since=request.since, now=now)
            except (RequestFailed, UnusableAnswer):
                failures += 1
            else:
                failures = 0
                run.add(CandleResponse(rows, now, to_instant(now)), page, reader.receive(page, now))
            now += history.request_ms
        messages = tuple(_message(timeframe, answer, weather) for answer in run.answers)
        check_lost(self.exchange.series[timeframe], reader.lost, self.exchange.offered_from(timeframe, now))
        return SeriesRun(run.result(), messages, now)

    def _store(self, runs: list[SeriesRun]) -> None:
        for run in runs:
            for message in run.collected:
                ledger = self.ledgers[message.timeframe]
                ledger.apply(message)
                check_message(self.exchange.series[message.timeframe], ledger, message, SETTLE_MS)
            ledger = self.ledgers[run.result.timeframe]
            ledger.lost = union([*ledger.lost, *(span.milliseconds() for span in run.result.lost)])

    def _deliver(self, runs: list[SeriesRun], step: Step) -> None:
        self._store(runs)
        for run in runs:
            self.scheduler.finished(run, max(self.now, run.finished_at) + step.clock_error_minutes * MINUTE_MS)


def play(history: History, rules: Rules = Rules()) -> World:
    """The world after all steps. Raises `Disagreement` as soon as the code and the truth differ."""
    world = World.of(history, rules)
    for step in history.steps:
        world.play(step)
    if history.recovers:
        world.recover()
    return world


def recovery_interval(history: History) -> int:
    """Minutes between the runs after the history: at least 30 candles of the shortest timeframe."""
    shortest = min(shortest_length(each) for each in history.all_timeframes) // MINUTE_MS
    return shortest * min(60, max(30, history.behaviour.width // 2))


def recovery_runs(history: History) -> int:
    return 20 + 2 * DAY_MINUTES // recovery_interval(history)


def _traits(history: History) -> ExchangeTraits:
    if not history.knows_horizon:
        return ExchangeTraits()
    behaviour = history.behaviour
    return ExchangeTraits(history_candles=behaviour.horizon, history_by_time=behaviour.horizon_by_time)


def candles_before(history: History, timeframe: str) -> int:
    """The number of periods before the start of the history in which candles may exist."""
    return max(1500, 4 * history.page_limit) if timeframe[-1] in "smh" else 120


def _truth(history: History, timeframe: str, index: int, end: int) -> SeriesTruth:
    start = max(0, shift(timeframe, START_MS, -candles_before(history, timeframe)))
    return truth_of(timeframe, start, end, history.tradings[index % len(history.tradings)])


def _message(timeframe: str, answer: Answer, weather: Weather) -> Collected:
    return Collected(
        timeframe=timeframe,
        fetched_at=to_milliseconds(answer.fetched_at),
        candles=answer.candles,
        verified=answer.proof.verified,
        rejected=frozenset((row.opens, row.row) for row in answer.proof.rejected),
        lag_ms=weather.lag_minutes * MINUTE_MS,
    )
