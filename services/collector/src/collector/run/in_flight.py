"""Which runs are in hand here, and which were finished lately: what to do with a tick follows from that.

This is a courtesy, not a guarantee: it holds within one process. Across processes a run may be carried out twice, and
that is harmless, because its id, its events' keys and its candles are the same.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

_REMEMBERED: Final = 10_000


@dataclass(frozen=True)
class MayStart:
    """Carry it out."""


@dataclass(frozen=True)
class AlreadyFinished:
    """This very run was finished here: the tick is a late copy."""


@dataclass(frozen=True)
class SameRunInFlight:
    """This very run is being carried out: the tick is a copy, and done when the run is."""

    ended: asyncio.Event


@dataclass(frozen=True)
class ConfigBusy:
    """Another run of the same config is being carried out."""

    run_id: UUID


@dataclass(frozen=True)
class Queued:
    """Another run of the same config is being carried out, and this one waits for its end."""

    behind: UUID
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

    def admit(self, config_id: int, run_id: UUID, *, waits: bool = False) -> Admission:
        """`waits`: the run waits for another run of its config to end. A run that does not wait is skipped.

        Ask again after `InHand` or `Queued`: several ticks may wait for the same end, and one of them begins.
        """
        if run_id in self._finished:
            return AlreadyFinished()
        if (ended := self._ended.get(run_id)) is not None:
            return SameRunInFlight(ended)
        if (other := self._by_config.get(config_id)) is not None:
            return Queued(other, self._ended[other]) if waits else ConfigBusy(other)
        return MayStart()

    @contextmanager
    def holding(self, config_id: int, run_id: UUID) -> Iterator[None]:
        """The run is in hand; after leaving without an exception it counts as finished."""
        ended = self._ended[run_id] = asyncio.Event()
        self._by_config[config_id] = run_id
        try:
            yield
            self.remember(run_id)
        finally:
            del self._ended[run_id], self._by_config[config_id]
            ended.set()

    def remember(self, run_id: UUID) -> None:
        self._finished[run_id] = None
        if len(self._finished) > _REMEMBERED:
            self._finished.popitem(last=False)
