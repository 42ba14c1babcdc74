"""Which waiting ticks a newer tick of the same config can replace.

A run collects up to now. So of several waiting ticks of a config one run collects the same candles, if it starts where
the earliest of them starts.
"""

from collections.abc import Hashable

from contracts.event import Event
from contracts.ticks import TickDue
from contracts.vocabulary import Trigger


def superseding_key(tick: Event) -> Hashable | None:
    """Equal for ticks of a config that collect the same series. None for a manual tick: a caller waits for its run.

    A tick without a start collects one page, which may begin before or after the start of another tick. So the two
    cannot replace each other.
    """
    assert isinstance(tick, TickDue)  # noqa: S101 -- the topic has no other events
    if tick.trigger is Trigger.MANUAL:
        return None
    config = tick.config
    return config.config_id, config.exchange, config.symbol, frozenset(config.timeframes), tick.window_start is None


def is_newer_tick(tick: Event, than: Event) -> bool:
    """Ticks may arrive twice and in another order, so their slots decide."""
    assert isinstance(tick, TickDue)  # noqa: S101 -- as above
    assert isinstance(than, TickDue)  # noqa: S101
    return tick.scheduled_for > than.scheduled_for


def merged_tick(newer: Event, older: Event) -> Event:
    """The newer tick, with the earlier of both starts. The keys of the ticks must be equal."""
    assert isinstance(newer, TickDue)  # noqa: S101 -- as above
    assert isinstance(older, TickDue)  # noqa: S101
    if newer.window_start is None or older.window_start is None or newer.window_start <= older.window_start:
        return newer
    return newer.model_copy(update={"window_start": older.window_start})
