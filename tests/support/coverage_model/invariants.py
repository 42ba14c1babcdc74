"""The conditions after every message and every run. Each check raises `Disagreement` with the details."""

from typing import TYPE_CHECKING

from contracts.spans import Interval, Intervals, subtract, union
from support.coverage_model.ledger import Collected, Ledger
from support.coverage_model.truth import SeriesTruth, candle_at, unfinished_row

if TYPE_CHECKING:
    from support.coverage_model.world import Scheduler


_FOREVER = 1 << 60


class Disagreement(AssertionError):  # noqa: N818 -- the name states the problem
    """The code reported something that is not true."""


def check_bound(requests: int, max_pages: int) -> None:
    """A run of one series sends a bounded number of requests. Failed ones are repeated, at most once in a row."""
    if requests > 2 * max_pages + 2:
        raise Disagreement(f"the run sent {requests} requests, with at most {max_pages} pages")


def check_message(truth: SeriesTruth, ledger: Ledger, message: Collected, settle_ms: int) -> None:
    """All that was stored exists, and all that exists in a verified span is stored.

    A candle that is published later than the settle time after its close is excepted: no answer can show it in time.
    """
    for candle in message.candles:
        if candle.open_ms not in truth.exists:
            raise Disagreement(f"a candle was stored that does not exist: {_at(candle.open_ms)}")
        if candle != candle_at(candle.open_ms) and list(candle) != unfinished_row(candle.open_ms):
            raise Disagreement(f"a candle was stored with values that were never sent: {candle}")
    for start, end in message.verified:
        for at in truth.between(start, end):
            is_too_late = truth.late.get(at, 0) + message.lag_ms > settle_ms
            if truth.close_of(at) <= end and at not in ledger.stored and not is_too_late:
                raise Disagreement(f"{_span((start, end))} was verified, but the candle of {_at(at)} is not stored")


def check_lost(truth: SeriesTruth, lost: Intervals, offered_from: int) -> None:
    """A span is lost only if the exchange no longer offers candles of this age.

    `offered_from`: the open time of the oldest candle that the exchange offers at the end of the run.
    """
    for start, end in lost:
        offered = truth.between(max(start, offered_from), end)
        if offered:
            raise Disagreement(
                f"{_span((start, end))} is lost, but the exchange offers the candle of {_at(offered[0])}"
            )


def check_series(truth: SeriesTruth, ledger: Ledger, scheduler: "Scheduler") -> None:
    """No hole is forgotten, and no unfinished candle is kept: a later run reads both, or they were reported as lost."""
    series = scheduler.progress.of(truth.timeframe)
    pending = [each.interval for each in series.pending]
    known_from = scheduler.known_from.get(truth.timeframe)
    if known_from is None:
        return
    if series.anchor is not None:
        forgotten = subtract([(known_from, series.anchor)], [*ledger.verified, *pending, *ledger.lost])
        if forgotten:
            raise Disagreement(f"{_span(forgotten[0])} is not verified, and no run will read it")
    to_read = union([*pending, (series.anchor or 0, _FOREVER), *ledger.lost])
    for at in ledger.unfinished:
        is_sent_again = at not in truth.bad
        if is_sent_again and at >= known_from and subtract([(at, truth.close_of(at))], to_read):
            raise Disagreement(f"the candle of {_at(at)} was stored unfinished, and no run will read it again")


def describe(missing: dict[str, list[int]]) -> str:
    """The number of missing candles by timeframe, and the first of them."""
    return ", ".join(f"{len(opens)} of {each} from {_at(opens[0])}" for each, opens in missing.items() if opens)


def _span(span: Interval) -> str:
    return f"[{_at(span[0])}, {_at(span[1])})"


def _at(milliseconds: int) -> str:
    from contracts.coverage import to_instant

    return f"{to_instant(milliseconds):%Y-%m-%d %H:%M:%S}"
