"""The runs that build candles from trades, and the estimate of their requests."""

import math

from hypothesis import given
from hypothesis import strategies as st

from contracts.spans import Intervals, union
from contracts.trade_pages import TRADES_PER_PAGE, trade_requests, trade_runs

MINUTE = 60_000
missing_time = st.lists(
    st.tuples(st.integers(0, 50_000), st.integers(1, 20_000)).map(
        lambda pair: (pair[0] * MINUTE, (pair[0] + pair[1]) * MINUTE)
    ),
    max_size=4,
).map(union)


@given(missing_time, st.none() | st.floats(0, 100_000))
def test_runs_contain_all_missing_time_once_and_the_newest_comes_first(missing: Intervals, rate: float | None) -> None:
    runs = list(trade_runs("1m", missing, rate))
    assert union(runs) == missing
    assert sum(end - start for start, end in runs) == sum(end - start for start, end in missing)
    assert runs == sorted(runs, reverse=True)


@given(missing_time, st.floats(0, 100_000))
def test_the_estimate_has_the_requests_of_every_run(missing: Intervals, rate: float) -> None:
    """Six beside those for the trades; a page of trades that two holes share counts for each."""
    runs = list(trade_runs("1m", missing, rate))
    candles = sum(end - start for start, end in missing) / MINUTE
    pages = trade_requests("1m", missing, rate) - 6 * len(runs)
    assert math.floor(candles * rate / TRADES_PER_PAGE) <= pages <= candles * rate / TRADES_PER_PAGE + len(missing)
