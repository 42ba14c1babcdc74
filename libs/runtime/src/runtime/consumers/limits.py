"""Limits of a concurrent consumer."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class InFlightLimits:
    """How many messages a `ConcurrentConsumer` handles and reads ahead, and its timeouts. Times are in seconds."""

    in_flight: int = 200
    """Size of the pool that all lanes share: how many messages are handled in it at the same time. The key of a message
    is its lane."""
    per_lane: int = 50
    """How many messages of one lane are handled at the same time. So a slow lane does not fill the pool. Requested
    messages take at most half of these places."""
    reserved_per_lane: int = 0
    """How many of the `per_lane` places are reserved for the lane. Reserved places are not in the shared pool, and
    other lanes cannot use them. Half of them are for scheduled messages only.
    """
    background_per_lane: int = 4
    """How many background messages of one lane are handled at the same time, in addition to `per_lane`."""
    max_unfinished: int = 100_000
    """How many messages of one partition may be in memory. At the limit the partition is not read, so all its lanes
    wait. This limit only protects the memory. If newer messages supersede waiting ones, the number of waiting messages
    is bounded by the number of keys anyway."""
    max_reports: int = 1000
    """How many dead letters and reports of superseded messages may be without an acknowledgement. At the limit, nothing
    is read until Kafka has acknowledged some of them.
    """
    attempts: int = 3
    """Attempts per message before it becomes a dead letter."""
    retry_initial_wait: float = 0.5
    """The wait before the second attempt. It doubles with each attempt, with jitter."""
    commit_interval: float = 1.0
    drain_on_revoke: float = 3.0
    """How long a rebalance waits for messages in progress. The whole group stops its work during this time, so it is
    short. Unfinished messages are handled again.
    """
    drain_on_stop: float = 25.0
    """How long a stop waits for messages in progress. It must be shorter than the worker's stop timeout; otherwise the
    last commit is not sent.
    """
