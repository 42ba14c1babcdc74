"""The rules by which a newer tick of a config replaces a waiting one.

A run collects up to now, and the progress in a newer tick is at least as complete. So if several ticks of a config
wait, one run collects the candles of all.
"""

from collections.abc import Hashable

from contracts.event import Event
from contracts.ticks import TickDue
from contracts.vocabulary import Trigger


def superseding_key(tick: Event) -> Hashable | None:
    """The key of a tick. It is equal for all ticks of a config that collect the same series. None for a manual tick,
    because a caller waits for its run, and for a range request, because no other run reads its span.
    """
    if not isinstance(tick, TickDue) or tick.trigger is Trigger.MANUAL:
        return None
    config = tick.config
    return config.config_id, config.exchange, config.symbol, frozenset(config.timeframes)


def is_newer_tick(tick: Event, than: Event) -> bool:
    """Whether the first tick is newer. The slots are compared, because ticks may arrive twice and in another order."""
    assert isinstance(tick, TickDue)  # noqa: S101 -- other messages have no key
    assert isinstance(than, TickDue)  # noqa: S101
    return tick.scheduled_for > than.scheduled_for


def merged_tick(newer: Event, older: Event) -> Event:
    """The newer tick. If it has no progress of a series, the progress of the older tick is used. A scheduler that
    restored an old state may have published such a tick.
    """
    assert isinstance(newer, TickDue)  # noqa: S101 -- other messages have no key
    assert isinstance(older, TickDue)  # noqa: S101
    progress = []
    for timeframe in newer.config.timeframes:
        own = newer.progress_of(timeframe)
        is_unknown = own.anchor is None and not own.pending
        progress.append(older.progress_of(timeframe) if is_unknown else own)
    return newer.model_copy(update={"progress": tuple(progress)})
