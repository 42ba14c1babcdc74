"""Limits of a concurrent consumer."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class InFlightLimits:
    """How many messages a `ConcurrentConsumer` handles and reads ahead, and its timeouts. Times are in seconds."""

    in_flight: int = 200
    """Size of the pool that all lanes share: so many messages are handled at the same time. The key is the lane."""
    per_lane: int = 50
    """Messages of one lane at the same time, so that a slow lane does not fill the pool."""
    reserved_per_lane: int = 0
    """Places that each lane has in addition to the shared pool. Other lanes cannot take them."""
    window: int = 1000
    """Offsets that a partition may read ahead of its oldest unfinished message. Messages that cannot start yet wait in
    memory, as bytes."""
    attempts: int = 3
    """Attempts per message before it becomes a dead letter."""
    retry_initial_wait: float = 0.5
    """The wait before the second attempt. It doubles with each attempt, with jitter."""
    commit_interval: float = 1.0
    drain_on_revoke: float = 3.0
    """A rebalance stops the whole group during this time, so it is short. Unfinished messages are handled again."""
    drain_on_stop: float = 25.0
    """Must be shorter than the worker's stop timeout; otherwise the last commit is not sent."""
