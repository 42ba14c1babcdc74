"""The collector's decisions, the scheduler's progress and a ledger against an exchange that behaves in every odd way."""

from hypothesis import HealthCheck, given, settings

from support.coverage_model.histories import History, histories
from support.coverage_model.world import play


@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories())
def test_no_history_loses_a_candle_silently(history: History) -> None:
    play(history)
