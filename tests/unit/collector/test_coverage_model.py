"""The collector's decisions, the scheduler's progress and a ledger against an exchange that behaves in every odd way.

`make test-deep` and `python -m support.coverage_model` play many more histories: docs/faults.md.
"""

import pytest
from hypothesis import given

from support.coverage_model.histories import Fate, History, Step, histories
from support.coverage_model.invariants import Disagreement
from support.coverage_model.odd_exchange import Behaviour, Kind, Weather
from support.coverage_model.playing import hypothesis_settings, search
from support.coverage_model.truth import BadKind, Trading
from support.coverage_model.world import Rules, play
from support.coverage_model.wrong_rules import WRONG_RULES
from support.depth import tries

pytestmark = pytest.mark.timeout(900)  # for a machine that is busy with other tests

_HISTORIES = tries(500, deep=5_000)

FOUND = {
    "the first anchor was an unfinished candle, and the next run had no anchor": History(
        steps=(Step(wait_minutes=5, weather=Weather(lag_minutes=3)), Step(wait_minutes=5, stale=True)),
        page_limit=4,
        max_pages=2,
    ),
    "a late result verified a candle that it had stored unfinished": History(
        page_limit=20,
        steps=(Step(), Step(wait_minutes=2, weather=Weather(lag_minutes=8), fate=Fate.LATE), Step(wait_minutes=181)),
    ),
    "a month that opens some seconds late was stored": History(
        tradings=(Trading(bad_every=3, bad=BadKind.OFF_GRID),),
        timeframes=("1M",),
        all_timeframes=("1d", "1w", "1M"),
    ),
    "more rejected rows than pending spans kept a run from reading an unread span to its start": History(
        tradings=(Trading(bad_every=17, bad=BadKind.ZEROS),),
        page_limit=100,
        steps=(Step(wait_minutes=18), Step(wait_minutes=1252)),
    ),
    "the first candle of a file was never requested after an outage": History(
        behaviour=Behaviour(kind=Kind.FILE, width=79, clips_since=True, sends_open_candle=False),
        page_limit=100,
        request_ms=20_000,
        steps=(Step(wait_minutes=161), Step(wait_minutes=1375)),
    ),
    "an answer whose bad rows are repeated was refused as a whole": History(
        behaviour=Behaviour(width=7, repeats_rows=True),
        tradings=(Trading(bad_every=3),),
        timeframes=("1h",),
        all_timeframes=("1h", "1d"),
        page_limit=60,
    ),
    "a late result proved an anchor that a wrong clock had set": History(
        behaviour=Behaviour(kind=Kind.NEWEST, width=1),
        tradings=(Trading(pattern=((1, 1), (3, 60)), listed=30, late_every=2, late_minutes=1),),
        page_limit=1,
        steps=(
            *(Step(), Step(), Step(wait_minutes=5), Step(wait_minutes=1, clock_error_minutes=-30)),
            *(Step(wait_minutes=1152, weather=Weather(empty=(True,))), Step(), Step(stale=True)),
        ),
    ),
    "a run was so long that its first candles were old at its end, and became the anchor": History(
        behaviour=Behaviour(kind=Kind.FILE, width=20),
        page_limit=20,
        max_pages=40,
        interval_minutes=1,
        request_ms=20_000,
        steps=(Step(wait_minutes=1), Step(wait_minutes=139), Step(wait_minutes=1, weather=Weather(lag_minutes=3))),
    ),
    "a young candle became the anchor, and a lagging answer then counted as final": History(
        behaviour=Behaviour(width=20, horizon=2),
        page_limit=20,
        interval_minutes=1,
        request_ms=200,
        steps=(*[Step(wait_minutes=1)] * 2, Step(wait_minutes=1, weather=Weather(lag_minutes=3))),
    ),
    "a repeated result proved its own anchor, which was unfinished": History(
        behaviour=Behaviour(width=1, horizon=2),
        page_limit=1,
        interval_minutes=1,
        request_ms=200,
        steps=(
            Step(wait_minutes=1, weather=Weather(lag_minutes=5, ignores_since=True), fate=Fate.TWICE),
            Step(wait_minutes=1),
        ),
        recovers=False,
    ),
    "each run's new holes put off the retry of the older ones, so that they were never read again": History(
        behaviour=Behaviour(kind=Kind.FIRST, width=100),
        tradings=(Trading(bad_every=3, bad=BadKind.INVERTED, mended_after=100),),
        page_limit=100,
        max_pages=1,
        interval_minutes=60,
        request_ms=200,
        steps=(Step(wait_minutes=60), Step(wait_minutes=60)),
    ),
}
"""Faults that the model found, with the smallest history that shows each."""


@pytest.mark.parametrize("history", FOUND.values(), ids=FOUND)
def test_a_fault_that_was_found_stays_mended(history: History) -> None:
    play(history)


FAR_BEHIND = History(
    behaviour=Behaviour(width=60),
    page_limit=60,
    max_pages=2,
    catch_up_hours=24 * 14,
    steps=(Step(), Step(wait_minutes=1252), Step()),
)
"""An outage that is longer than a page. Random histories contain it rarely together with a recovery."""

SHORT_HISTORY = History(
    behaviour=Behaviour(width=20, honours_until=True, horizon=2, sends_open_candle=False),
    tradings=(Trading(delisted=400, bad_every=3),),
    page_limit=20,
    interval_minutes=1,
    catch_up_hours=1,
    request_ms=200,
    knows_horizon=True,
    steps=(Step(wait_minutes=1, weather=Weather(ignores_since=True)),),
)
"""An exchange that keeps two candles, which may be hours apart. One of a thousand random histories shows a fault."""


@pytest.mark.deep
@hypothesis_settings(_HISTORIES, derandomize=True)
@given(histories())
def test_no_history_loses_a_candle_silently(history: History) -> None:
    play(history)


@pytest.mark.parametrize("name", WRONG_RULES)
def test_the_model_disagrees_with_each_wrong_rule(name: str) -> None:
    rules: Rules = WRONG_RULES[name]
    with pytest.raises(Disagreement):
        _find(rules)


def _find(rules: Rules) -> None:
    for history in (FAR_BEHIND, SHORT_HISTORY, *FOUND.values()):
        play(history, rules)
    search(rules, number=1, count=_HISTORIES)
