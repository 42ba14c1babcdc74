"""The schedule of a few configs under everything that can happen, beside a model that walks every slot."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contracts.configs import CollectionConfig, ConfigChanged, ConfigRemoved
from contracts.schedule import JobScheduled
from contracts.ticks import TickDue
from contracts.vocabulary import RunStatus, Trigger
from scheduler.book import Book, ScheduleChange
from scheduler.due import acknowledged, decide, tick_of
from scheduler.entry import AHEAD_MS, state_of
from scheduler.grid import Grid, grid_of, to_instant, to_ms
from support.schedules import NOON_MS, SPREAD_MS, a_config, a_policy, the_run_of

MINUTE = 60_000
CATCH_UP = 30 * MINUTE
POLICY = a_policy(catch_up_limit_ms=CATCH_UP)
IDS = st.sampled_from([1, 2])
INTERVALS = st.sampled_from([1, 2, 7])


@dataclass
class Walker:
    """One config, as a person with a calendar would follow it."""

    config: CollectionConfig
    accounted: int | None = None
    """Every slot up to here has its tick, or was told as missed."""
    initial_owed: bool = True
    covered: int | None = None
    ticks: list[TickDue] = field(default_factory=list)
    unfinished: list[TickDue] = field(default_factory=list)

    @property
    def grid(self) -> Grid:
        return grid_of(self.config.config_id, self.config.interval_minutes, SPREAD_MS)

    def right(self, now: int) -> None:
        """What is yet to come has not been done."""
        if max(self.accounted or 0, self.covered or 0) <= now + AHEAD_MS:
            return
        self.accounted = None if self.accounted is None else min(self.accounted, now)
        self.covered = now - CATCH_UP if (self.covered or 0) > now + AHEAD_MS else self.covered

    def slots(self, until: int) -> list[int]:
        assert self.accounted is not None
        walked, slot = [], self.grid.slot_after(self.accounted)
        while slot <= until:
            walked.append(slot)
            slot += self.grid.interval_ms
        return walked


class Schedule(RuleBasedStateMachine):
    """`self.topics` is what Kafka remembers; the book may be lost at any moment, the topics never."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON_MS
        self.book = Book(SPREAD_MS, CATCH_UP)
        self.book.go_live(0, self.now)
        self.changes: dict[int, ConfigChanged | ConfigRemoved] = {}
        self.states: dict[int, JobScheduled] = {}
        self.walkers: dict[int, Walker] = {}
        self.versions = {1: 0, 2: 0}
        self.unremembered: set[UUID] = set()
        """Runs that may be asked for again: their ticks' states were lost, or their slots are yet to come again."""

    # ---- what happens ----

    @initialize()
    def begin(self) -> None:
        self.write(1, enabled=True)

    @rule(seconds=st.integers(0, 1200))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * 1000
        self.turn()

    @rule(minutes=st.integers(1, 90))
    def the_clock_is_set_back(self, minutes: int) -> None:
        self.now -= minutes * MINUTE
        for config_id in self.book.right(self.now):
            self.remember(config_id)
        for walker in self.walkers.values():
            walker.right(self.now)
        self.unremembered |= {tick.run_id for tick in self.all_ticks() if to_ms(tick.scheduled_for) > self.now}
        self.turn()

    @rule(hours=st.integers(1, 4))
    def the_clock_is_set_forward_or_the_machine_sleeps(self, hours: int) -> None:
        self.now += hours * 60 * MINUTE
        self.turn()

    @rule(config_id=IDS, minutes=INTERVALS, enabled=st.booleans())
    def an_operator_writes(self, config_id: int, minutes: int, enabled: bool) -> None:
        self.write(config_id, enabled=enabled, interval_minutes=minutes)

    @rule(config_id=IDS, timeframes=st.sampled_from([("1m",), ("1m", "1h"), ("1h", "1d")]))
    def an_operator_changes_what_is_collected(self, config_id: int, timeframes: tuple[str, ...]) -> None:
        if config_id in self.walkers:
            self.write(config_id, timeframes=timeframes)

    @rule(config_id=IDS)
    def an_operator_deletes(self, config_id: int) -> None:
        if self.walkers.pop(config_id, None) is None:
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

    @rule(data=st.data(), status=st.sampled_from([RunStatus.SUCCESS, RunStatus.FAILED]))
    def a_run_ends(self, data: st.DataObject, status: RunStatus) -> None:
        running = [tick for walker in self.walkers.values() for tick in walker.unfinished]
        if not running:
            return
        tick = data.draw(st.sampled_from(running))
        run = the_run_of(tick, ended=max(self.now, 0), status=status)
        first = self.book.run_finished(0, run, self.now)
        walker = self.walkers[tick.config.config_id]
        walker.unfinished.remove(tick)
        if status is RunStatus.SUCCESS and set(walker.config.timeframes) <= set(tick.config.timeframes):
            assert first == (walker.covered is None)
            walker.covered = max(walker.covered or 0, self.now)
        if first:
            self.remember(tick.config.config_id)

    @rule(seconds=st.integers(0, 1200))
    def it_crashes_after_its_ticks_and_before_their_states(self, seconds: int) -> None:
        self.now += seconds * 1000
        self.turn(remembering=False)
        self.restart()

    @rule()
    def it_restarts(self) -> None:
        self.restart()

    @rule()
    @precondition(lambda self: self.walkers)
    def the_group_hands_everything_back(self) -> None:
        self.book.hold(0)
        before = len(self.all_ticks())
        self.turn()
        assert len(self.all_ticks()) == before, "a held partition fired"
        self.book.go_live(0, self.now)

    # ---- the machinery under test, driven as the service drives it ----

    def write(self, config_id: int, **wanted: object) -> None:
        self.versions[config_id] += 1
        old = self.walkers.get(config_id)
        values = {} if old is None else old.config.model_dump()
        values |= {"config_id": config_id, "version": self.versions[config_id], "updated_at": to_instant(self.now)}
        config = a_config(**{**values, **wanted})
        event = ConfigChanged(occurred_at=config.updated_at, config=config)
        self.changes[config_id] = event
        self.check_news(old, config, self.book.config_changed(0, event, self.now))
        self.remember(config_id)
        self.turn()

    def turn(self, *, remembering: bool = True) -> None:
        for config_id in list(self.walkers):
            entry = self.book.firing(config_id)
            due = None if entry is None else decide(entry, self.now, POLICY)
            if due is None:
                continue
            tick = tick_of(due, self.now, POLICY)
            self.check_tick(tick)
            self.book.put(acknowledged(entry, due), self.now)
            again = decide(self.book.get(config_id), self.now, POLICY)
            assert again is None, "one tick is enough, however much was missed"
            if remembering:
                self.remember(config_id)
                self.unremembered.discard(tick.run_id)
            else:
                self.unremembered.add(tick.run_id)

    def remember(self, config_id: int) -> None:
        entry = self.book.get(config_id)
        if entry is not None and entry.initial is None:
            self.states[config_id] = state_of(entry, self.now)

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
        assert set(restored.config_ids) == set(self.walkers)
        for config_id, walker in self.walkers.items():
            self.roll_back(walker, self.states.get(config_id))

    # ---- what must hold ----

    def roll_back(self, walker: Walker, state: JobScheduled | None) -> None:
        """What was not published is not known any more."""
        if state is None or state.config_version < walker.config.version:
            walker.initial_owed = walker.config.enabled
        if state is None:
            walker.accounted, walker.covered = None, None
            return
        walker.accounted = None if state.last_slot is None else to_ms(state.last_slot)
        walker.covered = None if state.covered_until is None else to_ms(state.covered_until)
        walker.right(self.now)

    def check_news(self, old: Walker | None, config: CollectionConfig, news: ScheduleChange | None) -> None:
        assert news is not None
        walker = Walker(config, initial_owed=config.enabled)
        self.walkers[config.config_id] = walker
        if old is None:
            return
        walker.ticks, walker.unfinished = old.ticks, old.unfinished
        walker.accounted, walker.covered = old.accounted, old.covered
        subset = set(config.timeframes) <= set(old.config.timeframes)
        if not subset:
            walker.covered = None
        walker.initial_owed = config.enabled and (old.initial_owed or not old.config.enabled or not subset)
        regridded = old.config.interval_minutes != config.interval_minutes
        if old.config.enabled and not old.initial_owed and (regridded or not config.enabled):
            assert news.skipped_slots == len(old.slots(self.now)), "what is dropped must be told"
        if regridded and walker.accounted is not None:
            walker.accounted = max(walker.accounted, self.now)
        if config.enabled and not old.config.enabled:
            walker.accounted = None

    def check_tick(self, tick: TickDue) -> None:
        walker = self.walkers[tick.config.config_id]
        assert walker.config.enabled
        assert tick.config == walker.config
        repeated = [other for other in walker.ticks if other.run_id == tick.run_id]
        if repeated:
            assert tick.run_id in self.unremembered, "a run_id twice, although its state was published"
            assert {(each.trigger, each.scheduled_for) for each in repeated} == {(tick.trigger, tick.scheduled_for)}
        if tick.trigger is Trigger.INITIAL:
            assert walker.initial_owed
            walker.initial_owed = False
            missed = [] if walker.accounted is None else walker.slots(self.now)
            assert tick.missed_slots == len(missed)
            walker.accounted = max(self.now, walker.accounted or 0)
        else:
            assert not walker.initial_owed
            due = walker.slots(self.now)
            assert [to_ms(tick.scheduled_for), tick.missed_slots] == [due[-1], len(due) - 1]
            walker.accounted = due[-1]
        self.check_window(walker, tick)
        walker.ticks.append(tick)
        walker.unfinished.append(tick)

    def check_window(self, walker: Walker, tick: TickDue) -> None:
        if walker.covered is None:
            assert tick.window_start is None
            return
        assert tick.window_start is not None
        end = to_instant(self.now) if tick.trigger is Trigger.INITIAL else tick.scheduled_for
        assert tick.window_start <= end
        shortest = MINUTE if "1m" in walker.config.timeframes else 60 * MINUTE
        oldest = self.now - max(CATCH_UP, 2 * walker.grid.interval_ms) - shortest
        expected: datetime = to_instant(max(walker.covered, oldest))
        assert tick.window_start == min(expected, end), "a hole, or more than the limit"

    def all_ticks(self) -> list[TickDue]:
        return [tick for walker in self.walkers.values() for tick in walker.ticks]

    @invariant()
    def nothing_is_held_that_was_not_asked_for(self) -> None:
        assert sum(self.book.census().values()) == len(self.walkers)

    @invariant()
    def what_is_disabled_never_comes_due(self) -> None:
        for config_id, walker in self.walkers.items():
            assert (self.book.due_at(config_id) is None) == (not walker.config.enabled)


TestSchedule = Schedule.TestCase
TestSchedule.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
