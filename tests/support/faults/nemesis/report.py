"""What became of runs of the nemesis, as a table in Markdown."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from support.faults.nemesis.run import Told
from support.faults.run_rules import stretches

_EXAMPLES = 5


def report(runs: Sequence[Told]) -> str:
    """A column per run."""
    lines = [f"| | {' | '.join(f'seed {told.seed}' for told in runs)} |", f"|---|{'---|' * len(runs)}"]
    lines += [f"| {name} | {' | '.join(value(told) for told in runs)} |" for name, value in _ROWS]
    return "\n".join([*lines, "", *_examples(runs)])


def _examples(runs: Iterable[Told]) -> Iterable[str]:
    for told in runs:
        for kind in sorted({violation.kind for violation in told.violations}):
            found = [violation for violation in told.violations if violation.kind is kind]
            yield f"- seed {told.seed}, {kind}, {len(found)} times:"
            yield from (f"  - {violation.subject}: {violation.what}" for violation in found[:_EXAMPLES])


def _counted(things: Iterable[str]) -> str:
    counts = Counter(things)
    named = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    return f"{counts.total()}: {named}" if counts else "none"


def _runs(told: Told) -> str:
    return _counted(run.status for run in told.evidence.runs)


def _unsuccessful(told: Told) -> str:
    return _counted(run.error_class or run.status for run in told.evidence.runs if run.status != "success")


def _ticks(told: Told) -> str:
    return _counted(tick.trigger for tick in told.evidence.ticks)


def _faults(told: Told) -> str:
    return _counted(str(fault.kind) for fault in told.injected)


def _calls(told: Told) -> str:
    return _counted(call.outcome for call in told.evidence.history.calls)


def _missed(told: Told) -> str:
    missed = {(tick.config_id, tick.scheduled_for): tick.missed_slots for tick in told.evidence.ticks}
    over = sum(told.evidence.skipped_slots.values())
    return f"{sum(missed.values())} made up for by a later tick, {over} passed over as the schedule changed"


def _judged(told: Told) -> str:
    sure = sum(each.grid.slots_between(each.after_ms, each.until_ms) for each in stretches(told.evidence))
    return f"{sure}, all those of which it is certain that they were due"


def _candles(told: Told) -> str:
    return f"{sum(len(series) for series in told.evidence.candles.values())} of {len(told.evidence.candles)} series"


def _letters(told: Told) -> str:
    places = {(each.source_topic, each.partition, each.offset) for each in told.evidence.letters}
    return f"{len(places)} of {len(told.evidence.poison)} poisoned messages"


def _recovered(told: Told) -> str:
    return "not in time" if told.recovered_after is None else f"{told.recovered_after:.0f} s"


def _lateness(told: Told) -> str:
    since = told.evidence.rules.on_time_from or math.inf
    late = [
        run.started_at - run.scheduled_for
        for run in told.evidence.runs
        if run.trigger == "scheduled" and run.scheduled_for >= since
    ]
    return f"{max(late):.2f} s, of {len(late)} runs" if late else "no slot was due by then"


def _pauses(told: Told) -> str:
    return str(sum(request.retry_after is not None for request in told.evidence.requests))


def _violations(told: Told) -> str:
    return _counted(str(violation.kind) for violation in told.violations) if told.violations else "**0**"


_ROWS: tuple[tuple[str, Callable[[Told], str]], ...] = (
    ("minutes", lambda told: f"{told.seconds / 60:g}"),
    ("configs", lambda told: str(told.configs)),
    ("faults", _faults),
    ("planned faults that met nobody", lambda told: _counted(str(fault.kind) for fault in told.missed)),
    ("calls of the operator", _calls),
    ("ticks", _ticks),
    ("runs", _runs),
    ("runs without success, by reason", _unsuccessful),
    ("slots without a tick of their own", _missed),
    ("slots judged", _judged),
    ("candles", _candles),
    ("requests to exchanges", lambda told: str(len(told.evidence.requests))),
    ("refused with Retry-After", _pauses),
    ("dead letters", _letters),
    ("recovered after the last fault within", _recovered),
    ("latest start, from a minute after it on", _lateness),
    ("violations", _violations),
)
