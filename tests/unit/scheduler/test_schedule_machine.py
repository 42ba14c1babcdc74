"""The schedule of a few configs under all kinds of events, compared with a model that counts each slot."""

from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contracts.configs import CollectionConfig, ConfigChanged, ConfigRemoved
from contracts.coverage import SeriesProgress, to_instant, to_milliseconds
from contracts.runs import TimeframeResult
from contracts.schedule import JobScheduled
from contracts.spans import subtract, union
from contracts.ticks import TickDue
from contracts.timeframes import DAY_MS, close_of, floor_open
from contracts.vocabulary import RunStatus, Trigger
from scheduler.book import Book, ScheduleChange
from scheduler.due import acknowledged, decide, tick_of
from scheduler.entry import state_of
from support.schedule_model import ConfigModel
from support.schedules import (
    NOON_MS,
    SPREAD_MS,
    a_config,
    a_policy,
    a_result,
    everything_for,
    newest_candles,
    the_run_of,
)

MINUTE = 60_000
CATCH_UP = 30 * MINUTE
POLICY = a_policy(catch_up_limit_ms=CATCH_UP)
IDS = st.sampled_from([1, 2])
INTERVALS = st.sampled_from([1, 2, 7])


class Schedule(RuleBasedStateMachine):
    """`changes` and `states` are the content of Kafka. The book can be lost at any moment, they cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON_MS
        self.book = Book(SPREAD_MS, CATCH_UP)
        self.book.go_live(0, self.now)
        self.changes: dict[int, ConfigChanged | ConfigRemoved] = {}
        self.states: dict[int, JobScheduled] = {}
        self.models: dict[int, ConfigModel] = {}
        self.versions = {1: 0, 2: 0}
        self.may_repeat: set[UUID] = set()
        """Runs whose tick may be published again: the state was lost, or the slot is in the future again."""

    # ---- events ----

    @initialize()
    def begin(self) -> None:
        self.change_config(1, enabled=True)

    @rule(seconds=st.integers(0, 1200))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * 1000
        self.turn()

    @rule(minutes=st.integers(1, 90))
    def the_clock_is_set_back(self, minutes: int) -> None:
        self.now -= minutes * MINUTE
        for config_id, model in self.models.items():
            model.clamp_to_now(self.now, self.book.get(config_id).progress.latest_anchor())
        for config_id in self.book.clamp_to_now(self.now):
            self.publish_state_of(config_id)
        self.may_repeat |= {tick.run_id for tick in self.all_ticks() if to_milliseconds(tick.scheduled_for) > self.now}
        self.turn()

    @rule(hours=st.integers(1, 4))
    def the_clock_is_set_forward(self, hours: int) -> None:
        self.now += hours * 60 * MINUTE
        self.turn()

    @rule(config_id=IDS, minutes=INTERVALS, enabled=st.booleans())
    def an_operator_changes_the_schedule(self, config_id: int, minutes: int, enabled: bool) -> None:
        self.change_config(config_id, enabled=enabled, interval_minutes=minutes)

    @rule(config_id=IDS, timeframes=st.sampled_from([("1m",), ("1m", "1h"), ("1h", "1d")]))
    def an_operator_changes_what_is_collected(self, config_id: int, timeframes: tuple[str, ...]) -> None:
        if config_id in self.models:
            self.change_config(config_id, timeframes=timeframes)

    @rule(config_id=IDS, symbol=st.sampled_from(["BTC/USDT", "ETH/USDT"]))
    def an_operator_changes_the_symbol(self, config_id: int, symbol: str) -> None:
        if config_id in self.models:
            self.change_config(config_id, symbol=symbol)

    @rule(config_id=IDS)
    def an_operator_deletes(self, config_id: int) -> None:
        if self.models.pop(config_id, None) is None:
            return
        self.versions[config_id] += 1
        event = ConfigRemoved(occurred_at=to_instant(self.now), config_id=config_id, version=self.versions[config_id])
        self.changes[config_id] = event
        assert self.book.config_removed(0, event, self.now)
        self.states.pop(config_id, None)

    @rule(config_id=IDS)
    def an_old_change_arrives_again(self, config_id: int) -> None:
        if self.versions[config_id] > 1:
            old = a_config(config_id=config_id, version=self.versions[config_id] - 1, interval_minutes=3)
            event = ConfigChanged(occurred_at=old.updated_at, config=old)
            assert self.book.config_changed(0, event, self.now) is None

    @rule(data=st.data(), again=st.booleans())
    def a_run_ends(self, data: st.DataObject, again: bool) -> None:
        running = [tick for model in self.models.values() for tick in model.unfinished]
        if not running:
            return
        tick = data.draw(st.sampled_from(running))
        results = [self.draw_result(data, tick.progress_of(timeframe)) for timeframe in tick.config.timeframes]
        failed = any(result.error_class for result in results)
        run = the_run_of(
            tick, ended=self.now, status=RunStatus.FAILED if failed else RunStatus.SUCCESS, results=results
        )
        model = self.models[tick.config.config_id]
        if not again:
            model.unfinished.remove(tick)
        known = self.book.get(tick.config.config_id).progress
        publish_now = self.book.run_finished(0, run, self.now)
        if run.symbol == model.config.symbol:
            new = {each.timeframe for each in results if each.anchor and known.of(each.timeframe).anchor is None}
            assert publish_now or not new, "the first anchor must be published at once"
            self.note_results(model, results, new)
        if publish_now:
            self.publish_state_of(tick.config.config_id)

    def draw_result(self, data: st.DataObject, known: SeriesProgress) -> TimeframeResult:
        """A run finds everything, the newest page, nothing for its requests, or an error."""
        kind, timeframe = data.draw(st.sampled_from(["everything", "page", "nothing", "error"])), known.timeframe
        if kind == "everything":
            return everything_for(known, self.now)
        if kind == "page":
            return newest_candles(timeframe, self.now, page=5)
        requested = [span.milliseconds() for span in known.pending if data.draw(st.booleans())]
        anchor = None if known.anchor is None else to_milliseconds(known.anchor)
        if kind == "nothing":
            return a_result(timeframe, anchor=anchor, requested=requested)
        return a_result(timeframe, requested=requested, error_class="network", error_message="no response")

    def note_results(self, model: ConfigModel, results: list[TimeframeResult], new: set[str]) -> None:
        for result in results:
            series = model.config.symbol, result.timeframe
            spans = [span.milliseconds() for span in result.verified]
            model.verified[series] = union([*model.verified.get(series, ()), *spans])
            if result.timeframe in new:
                model.first[result.timeframe] = to_milliseconds(result.anchor)
                if self.book.get(model.config.config_id).initial is not None:
                    model.not_stored.add(result.timeframe)

    @rule(seconds=st.integers(0, 1200))
    def the_scheduler_crashes_between_ticks_and_states(self, seconds: int) -> None:
        self.now += seconds * 1000
        self.turn(publish_state=False)
        self.restart()

    @rule()
    def the_scheduler_restarts(self) -> None:
        self.restart()

    @rule()
    @precondition(lambda self: self.models)
    def a_rebalance_assigns_everything_again(self) -> None:
        self.book.pause(0)
        before = len(self.all_ticks())
        self.turn()
        assert len(self.all_ticks()) == before, "a tick was due in a paused partition"
        self.book.go_live(0, self.now)

    # ---- calls of the tested code, as the service makes them ----

    def change_config(self, config_id: int, **wanted: object) -> None:
        self.versions[config_id] += 1
        old = self.models.get(config_id)
        values = {} if old is None else old.config.model_dump()
        values |= {"config_id": config_id, "version": self.versions[config_id], "updated_at": to_instant(self.now)}
        config = a_config(**{**values, **wanted})
        event = ConfigChanged(occurred_at=config.updated_at, config=config)
        self.changes[config_id] = event
        self.check_change(old, config, self.book.config_changed(0, event, self.now))
        self.publish_state_of(config_id)
        self.turn()

    def turn(self, *, publish_state: bool = True) -> None:
        for config_id in list(self.models):
            entry = self.book.live_entry(config_id)
            due = None if entry is None else decide(entry, self.now, POLICY)
            if due is None:
                continue
            tick = tick_of(due, self.now, POLICY)
            self.check_tick(tick)
            self.book.put(acknowledged(entry, due), self.now)
            again = decide(self.book.get(config_id), self.now, POLICY)
            assert again is None, "one tick covers all missed slots"
            if publish_state:
                self.publish_state_of(config_id)
                self.may_repeat.discard(tick.run_id)
            else:
                self.may_repeat.add(tick.run_id)

    def publish_state_of(self, config_id: int) -> None:
        entry = self.book.get(config_id)
        if entry is not None and entry.initial is None:
            self.states[config_id] = state_of(entry, self.now)
            self.models[config_id].not_stored.clear()

    def restart(self) -> None:
        self.book = Book(SPREAD_MS, CATCH_UP)
        for event in self.changes.values():
            if isinstance(event, ConfigChanged):
                self.book.config_changed(0, event, self.now)
            else:
                self.book.config_removed(0, event, self.now)
        for config_id, state in self.states.items():
            self.book.state_read(0, config_id, state, self.now)
        restored = self.book.go_live(0, self.now)
        assert set(restored.config_ids) == set(self.models)
        for config_id, model in self.models.items():
            self.roll_back(model, self.states.get(config_id))

    # ---- checks ----

    def roll_back(self, model: ConfigModel, state: JobScheduled | None) -> None:
        """After a restart, only the published state is known."""
        if state is None or state.config_version < model.config.version:
            model.initial_pending = model.config.enabled
        for timeframe in model.not_stored:
            model.first.pop(timeframe, None)
        model.not_stored.clear()
        model.settled = None
        if state is not None and state.last_slot is not None:
            model.settled = to_milliseconds(state.last_slot)
            model.clamp_to_now(
                self.now, max((to_milliseconds(each.anchor) for each in state.progress if each.anchor), default=0)
            )

    def check_change(self, old: ConfigModel | None, config: CollectionConfig, change: ScheduleChange | None) -> None:
        assert change is not None
        model = ConfigModel(config, initial_pending=config.enabled)
        self.models[config.config_id] = model
        if old is None:
            return
        model.ticks, model.unfinished = old.ticks, old.unfinished
        model.settled, model.verified, model.not_stored = old.settled, old.verified, old.not_stored
        subset = set(config.timeframes) <= set(old.config.timeframes) and config.symbol == old.config.symbol
        if config.symbol == old.config.symbol:
            model.first = old.first
        else:
            model.not_stored = set()
        model.initial_pending = config.enabled and (old.initial_pending or not old.config.enabled or not subset)
        new_grid = old.config.interval_minutes != config.interval_minutes
        if old.config.enabled and not old.initial_pending and (new_grid or not config.enabled):
            assert change.skipped_slots == len(old.slots(self.now)), "skipped slots must be reported"
        if new_grid and model.settled is not None:
            model.settled = max(model.settled, self.now)
        if config.enabled and not old.config.enabled:
            model.settled = None

    def check_tick(self, tick: TickDue) -> None:
        model = self.models[tick.config.config_id]
        assert model.config.enabled
        assert tick.config == model.config
        repeated = [other for other in model.ticks if other.run_id == tick.run_id]
        if repeated:
            assert tick.run_id in self.may_repeat, "a run_id twice, although its state was published"
            assert {(each.trigger, each.scheduled_for) for each in repeated} == {(tick.trigger, tick.scheduled_for)}
        if tick.trigger is Trigger.INITIAL:
            assert model.initial_pending
            model.initial_pending = False
            missed = [] if model.settled is None else model.slots(self.now)
            assert tick.missed_slots == len(missed)
            model.settled = max(self.now, model.settled or 0)
        else:
            assert not model.initial_pending
            due = model.slots(self.now)
            assert [to_milliseconds(tick.scheduled_for), tick.missed_slots] == [due[-1], len(due) - 1]
            model.settled = due[-1]
        self.check_progress(model, tick)
        model.ticks.append(tick)
        model.unfinished.append(tick)

    def check_progress(self, model: ConfigModel, tick: TickDue) -> None:
        """The tick asks for everything that is unread and need not wait."""
        limit = max(CATCH_UP, 2 * model.grid.interval_ms)
        entry = self.book.get(model.config.config_id)
        for timeframe in model.config.timeframes:
            carried, known = tick.progress_of(timeframe), entry.progress.of(timeframe)
            asked = [span.milliseconds() for span in carried.pending]
            if carried.anchor is not None:
                asked.append((close_of(timeframe, to_milliseconds(carried.anchor)), self.now + 100 * DAY_MS))
            elif known.anchor is not None:
                assert known.anchor < self.now - limit, "the run could read on from the anchor"
            waiting = [each.interval for each in known.pending if each.retry_at and each.retry_at > self.now]
            until = floor_open(timeframe, self.now)
            forgotten = subtract(model.unread(timeframe, until), [*asked, *waiting])
            assert not forgotten, f"{timeframe}: neither requested nor waiting"

    def all_ticks(self) -> list[TickDue]:
        return [tick for model in self.models.values() for tick in model.ticks]

    @invariant()
    def the_book_contains_exactly_the_existing_configs(self) -> None:
        assert sum(self.book.counts_by_state().values()) == len(self.models)

    @invariant()
    def no_time_is_forgotten(self) -> None:
        for config_id, model in self.models.items():
            for timeframe in model.first:
                series = self.book.get(config_id).progress.of(timeframe)
                assert series.anchor is not None, "the first anchor is lost"
                unread = model.unread(timeframe, close_of(timeframe, series.anchor))
                assert not subtract(unread, [each.interval for each in series.pending])

    @invariant()
    def a_disabled_config_is_never_due(self) -> None:
        for config_id, model in self.models.items():
            assert (self.book.due_at(config_id) is None) == (not model.config.enabled)


TestSchedule = Schedule.TestCase
TestSchedule.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
