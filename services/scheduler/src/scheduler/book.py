"""The entries of all partitions that this instance owns. News goes in, what follows from it comes out; no I/O.

A partition is first restored: news comes in any order and nothing is decided. Then it is live. While the group hands
partitions out anew it is held: its entries stay and take news, but nothing fires until it is given back or dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import NamedTuple

from contracts.configs import ConfigChanged, ConfigRemoved
from contracts.runs import RunFinished
from contracts.schedule import JobScheduled
from scheduler.entry import (
    Entry,
    Plan,
    caught_up,
    changed,
    clamped,
    created,
    finished,
    is_ahead,
    pending_slots,
    plan_of,
    remembered,
)
from scheduler.grid import to_ms


class ScheduleChange(NamedTuple):
    """A config's schedule is no longer what it was."""

    config_id: int
    skipped_slots: int = 0
    """Slots that were owed on the schedule before, and will not get a tick."""


class Restored(NamedTuple):
    """What a partition holds once it is live, and what must be told about it."""

    config_ids: tuple[int, ...]
    changes: tuple[ScheduleChange, ...]
    """Configs that changed, or appeared, since their state was published."""
    orphans: tuple[ScheduleChange, ...]
    """Configs with a state that are gone: to be forgotten."""
    clamped: tuple[int, ...] = ()
    """Configs whose state was ahead of our clock."""


class _Removal(NamedTuple):
    version: int
    at: int
    """Up to when slots were due."""
    read_at: int


_NO_REMOVAL = _Removal(0, 0, 0)
_KEEP_REMOVALS_MS = timedelta(days=1) // timedelta(milliseconds=1)
"""Kafka's default `delete.retention.ms`: an instance that restores the partition later does not read the removal."""


@dataclass(slots=True)
class _Partition:
    restored: bool = False
    live: bool = False
    plans: dict[int, list[Plan]] = field(default_factory=dict)
    """While restoring: the versions by id, oldest first. Each may have owed slots before the next one came."""
    gone: dict[int, list[Plan]] = field(default_factory=dict)
    """The same of configs that were removed."""
    states: dict[int, Entry] = field(default_factory=dict)
    removed: dict[int, _Removal] = field(default_factory=dict)
    """By id, so that a repeated older version does not bring a deleted config back. In the order of reading; each is
    dropped after a while, or deleted configs would fill the memory.
    """

    def drop_old_removals(self, now: int) -> None:
        """Stops at the first that is kept, so that a bulk deletion costs each removal one look."""
        while self.removed:
            config_id, removal = next(iter(self.removed.items()))
            if now - removal.read_at < _KEEP_REMOVALS_MS:
                return
            del self.removed[config_id]


class Book:
    """Configs by id, and which of them may fire."""

    def __init__(self, spread_ms: int, reach_ms: int) -> None:
        self._spread_ms, self._reach_ms = spread_ms, reach_ms
        self._entries: dict[int, Entry] = {}
        self._enabled = 0
        self._partitions: dict[int, _Partition] = {}

    @property
    def live_partitions(self) -> int:
        return sum(partition.live for partition in self._partitions.values())

    def census(self) -> dict[str, int]:
        """How many configs are held, by state."""
        return {"enabled": self._enabled, "disabled": len(self._entries) - self._enabled}

    def get(self, config_id: int) -> Entry | None:
        return self._entries.get(config_id)

    def due_at(self, config_id: int) -> int | None:
        """When its next tick falls due; None when it will not fire or is not held."""
        entry = self._entries.get(config_id)
        return None if entry is None else entry.due_at()

    def firing(self, config_id: int) -> Entry | None:
        """The entry, if its partition is live: what may get a tick, and whose state may be published."""
        entry = self._entries.get(config_id)
        if entry is None:
            return None
        partition = self._partitions.get(entry.partition)
        return entry if partition is not None and partition.live else None

    def put(self, entry: Entry, now: int) -> None:
        """Replace an entry that the book still holds; a removed one stays removed."""
        if entry.plan.config_id in self._entries:
            self._entries[entry.plan.config_id] = clamped(entry, now, self._reach_ms)

    def right(self, now: int) -> tuple[int, ...]:
        """The clock was set back: entries must not wait until it is again what it was. The configs that would have."""
        ahead = [entry for entry in self._entries.values() if is_ahead(entry, now)]
        for entry in ahead:
            self.put(entry, now)
        return tuple(entry.plan.config_id for entry in ahead)

    # ---- partitions ----

    def hold(self, partition: int) -> None:
        """Nothing of it may fire until it is resumed."""
        if partition in self._partitions:
            self._partitions[partition].live = False

    def drop(self, partitions: set[int]) -> list[int]:
        """They are somebody else's now, or about to be restored from the beginning. Returns their configs' ids."""
        dropped = [each for each, entry in self._entries.items() if entry.partition in partitions]
        for config_id in dropped:
            self._remove(config_id)
        for partition in partitions:
            self._partitions.pop(partition, None)
        return dropped

    def go_live(self, partition: int, now: int) -> Restored:
        """All of it has been read, or it was given back and all that is new has been: it may fire from here on."""
        held = self._partition(partition)
        held.live = True
        if held.restored:
            return Restored(self._ids(partition), (), ())
        held.restored = True
        changes, ahead, states = [], [], held.states
        for config_id, plans in held.plans.items():
            state = states.pop(config_id, None)
            if state is not None and is_ahead(state, now):
                state = clamped(state, now, self._reach_ms)
                ahead.append(config_id)
            if state is not None and replace(state.plan, updated_at=plans[-1].updated_at) == plans[-1]:
                self._enter(replace(state, plan=plans[-1]))
                continue
            changes.append(self._schedule(_unheard(plans, state), partition, state, now))
        orphans = [self._orphan(held, state, now) for state in states.values()]
        restored = Restored(tuple(held.plans), tuple(changes), tuple(orphans), tuple(ahead))
        held.plans, held.gone, held.states = {}, {}, {}
        held.drop_old_removals(now)
        return restored

    # ---- news ----

    def config_changed(self, partition: int, event: ConfigChanged, now: int) -> ScheduleChange | None:
        """None when the event is old, or when the partition is still being restored."""
        held, plan = self._partition(partition), plan_of(event.config)
        known = self._plan(held, plan.config_id)
        if plan.version <= max(known.version if known else 0, held.removed.get(plan.config_id, _NO_REMOVAL).version):
            return None
        if not held.restored:
            held.plans.setdefault(plan.config_id, []).append(plan)
            return None
        return self._schedule([plan], partition, self._entries.get(plan.config_id), now)

    def config_removed(self, partition: int, event: ConfigRemoved, now: int) -> ScheduleChange | None:
        """None when there is nothing to forget now."""
        held, config_id = self._partition(partition), event.config_id
        known = self._plan(held, config_id)
        if known is not None and event.version < known.version:
            return None
        removal = _Removal(event.version, min(to_ms(event.occurred_at), now), now)
        held.removed[config_id] = max(removal, held.removed.pop(config_id, removal))
        if held.restored:
            held.drop_old_removals(now)
        else:
            held.gone[config_id] = held.plans.get(config_id, [])
        entry = self._entries.get(config_id)
        skipped_slots = 0 if entry is None else pending_slots(entry, removal.at)
        return ScheduleChange(config_id, skipped_slots) if self.config_forgotten(partition, config_id) else None

    def config_forgotten(self, partition: int, config_id: int) -> bool:
        """A tombstone on config-changes. Whether the config's state must be forgotten now."""
        self._partition(partition).plans.pop(config_id, None)
        return self._remove(config_id)

    def state_read(self, partition: int, config_id: int, state: JobScheduled | None, now: int) -> None:
        """Our own memory while restoring, our own echo afterwards; or what another instance did in between, when a
        partition comes back to us by way of it. An echo from before the clock was set back teaches nothing.
        """
        held = self._partition(partition)
        entry = self._entries.get(config_id)
        if not held.restored:
            held.states.pop(config_id, None)
            if state is not None:
                held.states[config_id] = remembered(state, partition, self._spread_ms)
        elif entry is not None and state is not None:
            told = remembered(state, partition, self._spread_ms)
            if not is_ahead(told, now):
                self._entries[config_id] = caught_up(entry, told)

    def run_finished(self, partition: int, run: RunFinished, now: int) -> bool:
        """Whether this was the first success: that must be remembered at once, the rest goes with the next tick.

        Losing a later one costs an overlap. Losing the first one would cost a hole where the interval is longer than
        one page reaches back.
        """
        entry = self._entries.get(run.config_id)
        if entry is None or entry.partition != partition:
            return False
        taught = finished(entry, run, now)
        self._entries[run.config_id] = taught
        return entry.covered is None and taught.covered is not None

    # ---- inside ----

    def _schedule(self, plans: Sequence[Plan], partition: int, before: Entry | None, now: int) -> ScheduleChange:
        after, skipped_slots = before, 0
        for plan in plans:
            if after is None:
                after = created(plan, partition, self._spread_ms)
            else:
                after, owed_before = changed(after, plan, now, self._spread_ms)
                skipped_slots += owed_before
        assert after is not None  # noqa: S101 -- there is a plan
        self._enter(after)
        return ScheduleChange(after.plan.config_id, skipped_slots)

    def _orphan(self, held: _Partition, state: Entry, now: int) -> ScheduleChange:
        """What a config that was removed while nobody looked still owed."""
        config_id, skipped_slots = state.plan.config_id, 0
        for plan in _unheard(held.gone.get(config_id, []), state):
            state, owed_before = changed(state, plan, now, self._spread_ms)
            skipped_slots += owed_before
        removal = held.removed.get(config_id)
        return ScheduleChange(config_id, skipped_slots + (pending_slots(state, removal.at) if removal else 0))

    def _enter(self, entry: Entry) -> None:
        self._remove(entry.plan.config_id)
        self._entries[entry.plan.config_id] = entry
        self._enabled += entry.plan.enabled

    def _remove(self, config_id: int) -> bool:
        entry = self._entries.pop(config_id, None)
        if entry is None:
            return False
        self._enabled -= entry.plan.enabled
        return True

    def _partition(self, partition: int) -> _Partition:
        return self._partitions.setdefault(partition, _Partition())

    def _plan(self, held: _Partition, config_id: int) -> Plan | None:
        """The newest that is known."""
        if plans := held.plans.get(config_id):
            return plans[-1]
        entry = self._entries.get(config_id)
        return None if entry is None else entry.plan

    def _ids(self, partition: int) -> tuple[int, ...]:
        return tuple(config_id for config_id, entry in self._entries.items() if entry.partition == partition)


def _unheard(plans: Sequence[Plan], state: Entry | None) -> Sequence[Plan]:
    """Those that are newer than the state; the newest in any case."""
    return [plan for plan in plans if state is None or plan.version > state.plan.version] or plans[-1:]
