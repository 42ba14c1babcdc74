from collector.exchange.failures import ExchangeFailure
from collector.run.outcomes import deadline_failure, run_error
from contracts.runs import TimeframeResult
from contracts.vocabulary import ErrorClass


def a_result(timeframe: str = "1m", error: ErrorClass | None = None, message: str | None = None) -> TimeframeResult:
    return TimeframeResult(timeframe=timeframe, candles=3, pages=1, error_class=error, error_message=message)


def test_a_run_succeeds_only_if_every_timeframe_did() -> None:
    assert run_error((a_result("1m"), a_result("1h"))) == (None, None)
    error_class, message = run_error((a_result("1m"), a_result("1h", ErrorClass.TIMEOUT, "too slow")))
    assert error_class is ErrorClass.TIMEOUT
    assert message == "1 of 2 timeframes failed. 1h: too slow"


def test_timeframes_with_the_same_failure_share_one_message() -> None:
    failed = [a_result(timeframe, ErrorClass.BANNED, "banned") for timeframe in ("1m", "5m", "1h")]
    assert run_error(tuple(failed)) == (ErrorClass.BANNED, "3 of 3 timeframes failed. 1m, 5m, 1h: banned")


def test_the_message_of_a_single_timeframe_has_no_count() -> None:
    assert run_error((a_result("1m", ErrorClass.NETWORK, "cut off"),)) == (ErrorClass.NETWORK, "cut off")


def test_the_message_of_a_missed_deadline_contains_the_last_failure() -> None:
    failure = ExchangeFailure(ErrorClass.UNAVAILABLE, "okx is not available", retryable=True)
    assert "okx is not available" in deadline_failure(120, failure).message
    assert deadline_failure(120, None).message == "the run exceeded its deadline of 120 s"
