"""The entries of all partitions that this instance owns. The functions take events and return schedule changes. No I/O.

A partition is first restored: events arrive in any order, and no tick is due. Then it is live. During a rebalance it is
paused: its entries stay and are updated, but no tick is due until the partition is live again or dropped.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import NamedTuple

from contracts.bounds import is_outdated
from contracts.configs import ConfigChanged, ConfigRemoved
from contracts.coverage import to_milliseconds
from contracts.runs import RunFinished
from contracts.schedule import JobScheduled
from scheduler.entry import (
    Entry,
    Plan,
    after_run,
    changed,
    clamped,
    created,
    entry_from_state,
    is_ahead,
    merged_with_state,
    pending_slots,
    plan_of,
)


class ScheduleChange(NamedTuple):
    """The schedule of a config changed."""

    config_id: int
    skipped_slots: int = 0
    """Pending slots of the previous schedule, which will not get a tick."""


class Restored(NamedTuple):
    """The configs of a partition that became live, and the changes to report."""

    config_ids: tuple[int, ...]
    changes: tuple[ScheduleChange, ...]
    """Configs that are new, or that changed after their state was published."""
    orphans: tuple[ScheduleChange, ...]
    """Deleted configs whose state still exists and must be removed, and deleted configs that no scheduler has known."""
    clamped: tuple[int, ...] = ()
    """Configs whose state had times in the future."""


class _Removal(NamedTuple):
    version: int
    at: int
    """The removal time of the config. Its slots were due until this instant."""
    read_at: int


_NO_REMOVAL = _Removal(0, 0, 0)
_KEEP_REMOVALS_MS = timedelta(days=1) // timedelta(milliseconds=1)
"""How long removals are kept: Kafka's default of `delete.retention.ms`. A later restore does not read the tombstone of
the removal either.
"""


@dataclass(slots=True)
class _Partition:
    restored: bool = False
    live: bool = False
    plans: dict[int, list[Plan]] = field(default_factory=dict)
    """During the restore: the versions of each config by id, oldest first. Each version may have pending slots from
    before the next version.
    """
    removed_plans: dict[int, list[Plan]] = field(default_factory=dict)
    """The versions of removed configs, in the same form."""
    states: dict[int, Entry] = field(default_factory=dict)
    stored: set[int] = field(default_factory=set)
    """During the restore: the ids with a stored state or its tombstone. A scheduler knew these configs."""
    removed: dict[int, _Removal] = field(default_factory=dict)
    """The removed configs by id, in the order of reading. They prevent that a repeated older version restores a deleted
    config. Old ones are dropped; otherwise deleted configs would fill the memory.
    """

    def drop_old_removals(self, now: int) -> None:
        """Drop removals that are too old. It stops at the first removal that is not old, so that a bulk deletion does
        not check each removal many times.
        """
        while self.removed:
            config_id, removal = next(iter(self.removed.items()))
            if now - removal.read_at < _KEEP_REMOVALS_MS:
                return
            del self.removed[config_id]


class Book:
    """The entries by config id, and the partitions that are live."""

    def __init__(self, spread_ms: int, catch_up_limit_ms: int) -> None:
        self._spread_ms, self._catch_up_limit_ms = spread_ms, catch_up_limit_ms
        self._entries: dict[int, Entry] = {}
        self._enabled = 0
        self._partitions: defaultdict[int, _Partition] = defaultdict(_Partition)

    @property
    def live_partitions(self) -> int:
        return sum(partition.live for partition in self._partitions.values())

    def counts_by_state(self) -> dict[str, int]:
        """Number of configs by state."""
        return {"enabled": self._enabled, "disabled": len(self._entries) - self._enabled}

    def get(self, config_id: int) -> Entry | None:
        return self._entries.get(config_id)

    def due_at(self, config_id: int) -> int | None:
        """The time at which the config's next tick is due. None if no tick will be due or the config is not in the
        book.
        """
        entry = self._entries.get(config_id)
        return None if entry is None else entry.due_at()

    def live_entry(self, config_id: int) -> Entry | None:
        """The entry if its partition is live. Otherwise the entry gets no tick, and its state is not published."""
        entry = self._entries.get(config_id)
        if entry is None:
            return None
        partition = self._partitions.get(entry.partition)
        return entry if partition is not None and partition.live else None

    def put(self, entry: Entry, now: int) -> None:
        """Replace an entry. If the entry was removed in the meantime, nothing is stored."""
        if entry.plan.config_id in self._entries:
            self._entries[entry.plan.config_id] = clamped(entry, now, self._catch_up_limit_ms)

    def clamp_to_now(self, now: int) -> tuple[int, ...]:
        """After the clock was set back: remove times in the future. Returns the ids of the corrected configs."""
        ahead = [entry for entry in self._entries.values() if is_ahead(entry, now)]
        for entry in ahead:
            self.put(entry, now)
        return tuple(entry.plan.config_id for entry in ahead)

    # ---- partitions ----

    def pause(self, partition: int) -> None:
        """No tick of the partition is due until it is live again."""
        if partition in self._partitions:
            self._partitions[partition].live = False

    def drop(self, partitions: set[int]) -> list[int]:
        """Drop partitions that another instance owns or that are restored again. Returns the ids of their configs."""
        dropped = [each for each, entry in self._entries.items() if entry.partition in partitions]
        for config_id in dropped:
            self._remove(config_id)
        for partition in partitions:
            self._partitions.pop(partition, None)
        return dropped

    def go_live(self, partition: int, now: int) -> Restored:
        """Call this when all messages of the partition were read, after a restore or after a rebalance."""
        owned = self._partitions[partition]
        owned.live = True
        if owned.restored:
            return Restored(self._ids(partition), (), ())
        owned.restored = True
        changes, ahead, states = [], [], owned.states
        for config_id, plans in owned.plans.items():
            state = states.pop(config_id, None)
            if state is not None and is_ahead(state, now):
                state = clamped(state, now, self._catch_up_limit_ms)
                ahead.append(config_id)
            if state is not None and state.plan == plans[-1]:
                self._store(replace(state, plan=plans[-1]))
                continue
            changes.append(self._schedule(_newer_than(plans, state), partition, state, now))
        for config_id, plans in owned.removed_plans.items():
            if plans and config_id not in owned.stored:
                states[config_id] = created(plans[0], partition, self._spread_ms)
        orphans = [self._orphan(owned, state, now) for state in states.values()]
        restored = Restored(tuple(owned.plans), tuple(changes), tuple(orphans), tuple(ahead))
        owned.plans, owned.removed_plans, owned.states, owned.stored = {}, {}, {}, set()
        owned.drop_old_removals(now)
        return restored

    # ---- events ----

    def config_changed(self, partition: int, event: ConfigChanged, now: int) -> ScheduleChange | None:
        """Handle a changed config. Returns None if the event is old, or if the partition is being restored."""
        resynced_at = to_milliseconds(event.occurred_at) if event.resynced else None
        owned, plan = self._partitions[partition], plan_of(event.config, resynced_at)
        known = self._plan(owned, plan.config_id)
        removed = owned.removed.get(plan.config_id, _NO_REMOVAL)
        if is_outdated(plan.version, max(known.version if known else 0, removed.version)):
            return None
        if not owned.restored:
            owned.plans.setdefault(plan.config_id, []).append(plan)
            return None
        return self._schedule([plan], partition, self._entries.get(plan.config_id), now)

    def config_removed(self, partition: int, event: ConfigRemoved, now: int) -> ScheduleChange | None:
        """Handle a removed config. Returns None if the book has no such config, or if the event is old."""
        owned, config_id = self._partitions[partition], event.config_id
        known = self._plan(owned, config_id)
        if known is not None and is_outdated(event.version, known.version - 1):
            return None
        removal = _Removal(event.version, min(to_milliseconds(event.occurred_at), now), now)
        owned.removed[config_id] = max(removal, owned.removed.pop(config_id, removal))
        if owned.restored:
            owned.drop_old_removals(now)
        else:
            owned.removed_plans[config_id] = owned.plans.get(config_id, [])
        entry = self._entries.get(config_id)
        skipped_slots = 0 if entry is None else pending_slots(entry, removal.at)
        removed = self.config_tombstone(partition, config_id)
        return ScheduleChange(config_id, skipped_slots) if removed else None

    def config_tombstone(self, partition: int, config_id: int) -> bool:
        """Handle a tombstone of config-changes. Returns whether the config's state must be removed now."""
        self._partitions[partition].plans.pop(config_id, None)
        return self._remove(config_id)

    def state_read(self, partition: int, config_id: int, state: JobScheduled | None, now: int) -> None:
        """Handle a message of schedule-state. During a restore, it is the stored state. Afterwards, it is a state that
        this instance published, or that another instance published while it owned the partition. A state with times in
        the future, from before the clock was set back, is ignored.
        """
        owned = self._partitions[partition]
        entry = self._entries.get(config_id)
        if not owned.restored:
            owned.states.pop(config_id, None)
            owned.stored.add(config_id)
            if state is not None:
                owned.states[config_id] = entry_from_state(state, partition, self._spread_ms)
        elif entry is not None and state is not None:
            published = entry_from_state(state, partition, self._spread_ms)
            if not is_ahead(published, now):
                self._entries[config_id] = merged_with_state(entry, published)

    def run_finished(self, partition: int, run: RunFinished, now: int) -> bool:
        """Handle the end of a run. Returns whether the config's state must be published at once, and not only with the
        next tick.

        This is necessary if a series got its first anchor. Without a stored anchor, no later run would read the time
        between this run and the next one. Later progress may be lost without harm, because the next run then continues
        at the earlier anchor.
        """
        entry = self._entries.get(run.config_id)
        if entry is None or entry.partition != partition:
            return False
        self._entries[run.config_id], publish_now = after_run(entry, run, now)
        return publish_now

    # ---- inside ----

    def _schedule(self, plans: Sequence[Plan], partition: int, before: Entry | None, now: int) -> ScheduleChange:
        after, skipped_slots = before, 0
        for plan in plans:
            if after is None:
                after = created(plan, partition, self._spread_ms)
            else:
                after, skipped = changed(after, plan, now, self._spread_ms)
                skipped_slots += skipped
        assert after is not None  # noqa: S101 -- `plans` is not empty
        self._store(after)
        return ScheduleChange(after.plan.config_id, skipped_slots)

    def _orphan(self, owned: _Partition, state: Entry, now: int) -> ScheduleChange:
        """The change to report for a config that was removed while no scheduler owned its partition. It has the skipped
        slots.
        """
        config_id, skipped_slots = state.plan.config_id, 0
        for plan in _newer_than(owned.removed_plans.get(config_id, []), state):
            state, skipped = changed(state, plan, now, self._spread_ms)
            skipped_slots += skipped
        removal = owned.removed.get(config_id)
        return ScheduleChange(config_id, skipped_slots + (pending_slots(state, removal.at) if removal else 0))

    def _store(self, entry: Entry) -> None:
        self._remove(entry.plan.config_id)
        self._entries[entry.plan.config_id] = entry
        self._enabled += entry.plan.enabled

    def _remove(self, config_id: int) -> bool:
        entry = self._entries.pop(config_id, None)
        if entry is None:
            return False
        self._enabled -= entry.plan.enabled
        return True

    def _plan(self, owned: _Partition, config_id: int) -> Plan | None:
        """The newest known version of the config."""
        if plans := owned.plans.get(config_id):
            return plans[-1]
        entry = self._entries.get(config_id)
        return None if entry is None else entry.plan

    def _ids(self, partition: int) -> tuple[int, ...]:
        return tuple(config_id for config_id, entry in self._entries.items() if entry.partition == partition)


def _newer_than(plans: Sequence[Plan], state: Entry | None) -> Sequence[Plan]:
    """The versions that are newer than the stored state. The newest version is always included."""
    return [plan for plan in plans if state is None or plan.version > state.plan.version] or plans[-1:]
