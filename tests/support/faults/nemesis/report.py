"""Reports the results of nemesis runs as a table in Markdown."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from support.faults.nemesis.run import NemesisResult
from support.faults.run_rules import active_periods

_EXAMPLES = 5


def report(runs: Sequence[NemesisResult]) -> str:
    """Return a table with one column per run, followed by examples of violations."""
    lines = [f"| | {' | '.join(f'seed {result.seed}' for result in runs)} |", f"|---|{'---|' * len(runs)}"]
    lines += [f"| {name} | {' | '.join(value(result) for result in runs)} |" for name, value in _ROWS]
    return "\n".join([*lines, "", *_examples(runs)])


def _examples(runs: Iterable[NemesisResult]) -> Iterable[str]:
    for result in runs:
        for kind in sorted({violation.kind for violation in result.violations}):
            found = [violation for violation in result.violations if violation.kind is kind]
            yield f"- seed {result.seed}, {kind}, {len(found)} times:"
            yield from (f"  - {violation.subject}: {violation.details}" for violation in found[:_EXAMPLES])


def _counted(names: Iterable[str]) -> str:
    counts = Counter(names)
    named = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    return f"{counts.total()}: {named}" if counts else "none"


def _runs(result: NemesisResult) -> str:
    return _counted(run.status for run in result.evidence.runs)


def _unsuccessful(result: NemesisResult) -> str:
    return _counted(run.error_class or run.status for run in result.evidence.runs if run.status != "success")


def _ticks(result: NemesisResult) -> str:
    return _counted(tick.trigger for tick in result.evidence.ticks)


def _faults(result: NemesisResult) -> str:
    return _counted(str(fault.kind) for fault in result.injected)


def _calls(result: NemesisResult) -> str:
    return _counted(call.outcome for call in result.evidence.history.calls)


def _without_own_tick(result: NemesisResult) -> str:
    covered = {(tick.config_id, tick.scheduled_for): tick.missed_slots for tick in result.evidence.ticks}
    skipped = sum(result.evidence.skipped_slots.values())
    return f"{sum(covered.values())} covered by a later tick, {skipped} skipped because the schedule changed"


def _judged(result: NemesisResult) -> str:
    judged = sum(each.grid.slots_between(each.after_ms, each.until_ms) for each in active_periods(result.evidence))
    return f"{judged}, all that were certainly due"


def _candles(result: NemesisResult) -> str:
    return f"{sum(len(series) for series in result.evidence.candles.values())} of {len(result.evidence.candles)} series"


def _dead_letters(result: NemesisResult) -> str:
    positions = {(each.source_topic, each.partition, each.offset) for each in result.evidence.dead_letters}
    return f"{len(positions)} of {len(result.evidence.unreadable)} unreadable messages sent"


def _recovered(result: NemesisResult) -> str:
    return "not in time" if result.recovered_after is None else f"{result.recovered_after:.0f} s"


def _lateness(result: NemesisResult) -> str:
    since = result.evidence.rules.on_time_from or math.inf
    late = [
        run.started_at - run.scheduled_for
        for run in result.evidence.runs
        if run.trigger == "scheduled" and run.scheduled_for >= since
    ]
    return f"{max(late):.2f} s, of {len(late)} runs" if late else "no slot was due by then"


def _refused(result: NemesisResult) -> str:
    return str(sum(request.retry_after is not None for request in result.evidence.requests))


def _violations(result: NemesisResult) -> str:
    return _counted(str(violation.kind) for violation in result.violations) if result.violations else "**0**"


_ROWS: tuple[tuple[str, Callable[[NemesisResult], str]], ...] = (
    ("minutes", lambda result: f"{result.seconds / 60:g}"),
    ("configs", lambda result: str(result.configs)),
    ("faults", _faults),
    ("planned faults that met no process", lambda result: _counted(str(fault.kind) for fault in result.missed)),
    ("calls of the operator", _calls),
    ("ticks", _ticks),
    ("runs", _runs),
    ("runs without success, by reason", _unsuccessful),
    ("slots without a tick of their own", _without_own_tick),
    ("slots judged", _judged),
    ("candles", _candles),
    ("requests to exchanges", lambda result: str(len(result.evidence.requests))),
    ("refused with Retry-After", _refused),
    ("dead letters", _dead_letters),
    ("recovered after the last fault within", _recovered),
    ("latest start, from one minute after the last fault on", _lateness),
    ("violations", _violations),
)
