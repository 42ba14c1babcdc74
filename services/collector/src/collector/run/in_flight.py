"""The runs that this process executes or has finished recently. The handling of a tick depends on them.

This only avoids duplicate work within one process and guarantees nothing. Two processes may execute the same run. That
is harmless, because its id, the keys of its events and its candles are the same.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

_MAX_FINISHED_RUNS: Final = 10_000


@dataclass(frozen=True)
class MayStart:
    """The run may start now."""


@dataclass(frozen=True)
class AlreadyFinished:
    """The run has already finished in this process, so the tick is a late duplicate."""


@dataclass(frozen=True)
class SameRunInFlight:
    """The run is already in progress, so the tick is a duplicate. It is finished when the run has ended."""

    ended: asyncio.Event


@dataclass(frozen=True)
class ConfigBusy:
    """Another run of the same config is in progress."""

    current_run: UUID


@dataclass(frozen=True)
class Queued:
    """Another run of the same config is in progress, and this run waits for its end."""

    current_run: UUID
    ended: asyncio.Event


Admission = MayStart | AlreadyFinished | SameRunInFlight | ConfigBusy | Queued


class RunsInFlight:
    """The runs of one process."""

    def __init__(self) -> None:
        self._by_config: dict[int, UUID] = {}
        self._ended: dict[UUID, asyncio.Event] = {}
        self._finished: OrderedDict[UUID, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ended)

    def admit(self, config_id: int | None, run_id: UUID, *, waits: bool = False) -> Admission:
        """`config_id`: None if the run may be in progress at the same time as other runs of its config. `waits`: the
        run waits until another run of its config has ended. A run that does not wait is skipped.

        After `SameRunInFlight` or `Queued`, call it again when the other run has ended: several ticks may wait for the
        same end, and only one of them may start.
        """
        if run_id in self._finished:
            return AlreadyFinished()
        if (ended := self._ended.get(run_id)) is not None:
            return SameRunInFlight(ended)
        if config_id is not None and (current_run := self._by_config.get(config_id)) is not None:
            return Queued(current_run, self._ended[current_run]) if waits else ConfigBusy(current_run)
        return MayStart()

    @contextmanager
    def track(self, config_id: int | None, run_id: UUID) -> Iterator[None]:
        """The run is in flight within the block. If the block raises nothing, the run then counts as finished."""
        ended = self._ended[run_id] = asyncio.Event()
        if config_id is not None:
            self._by_config[config_id] = run_id
        try:
            yield
            self.mark_finished(run_id)
        finally:
            del self._ended[run_id]
            if config_id is not None:
                del self._by_config[config_id]
            ended.set()

    def mark_finished(self, run_id: UUID) -> None:
        self._finished[run_id] = None
        if len(self._finished) > _MAX_FINISHED_RUNS:
            self._finished.popitem(last=False)
