"""How much a concurrent consumer takes on at a time."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class InFlightLimits:
    """How much a `ConcurrentConsumer` takes on, and its patience. Times in seconds."""

    in_flight: int = 200
    """Messages being handled at once, all lanes together; a message's key is its lane."""
    per_lane: int = 50
    """Of one lane, so that a slow one leaves room for the others."""
    own_per_lane: int = 0
    """Of these, so many that every lane has for itself, beside `in_flight`: several slow ones cannot take them."""
    window: int = 1000
    """How far a partition may read ahead of its oldest unfinished message. What is read and may not begin yet waits in
    memory, as bytes."""
    attempts: int = 3
    """Tries per message before it becomes a dead letter."""
    first_retry: float = 0.5
    """Before the second attempt; doubles with each, with jitter."""
    commit_interval: float = 1.0
    drain_on_revoke: float = 3.0
    """A rebalance stops the whole group meanwhile, so this is short; what is not finished is done again."""
    drain_on_stop: float = 25.0
    """Must be shorter than the worker's grace, or the last commit is not made."""
