"""Which requests the circuit breaker admits. The test sets the time: a list of one number."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest
import structlog.testing
from prometheus_client import CollectorRegistry

from collector.exchange.circuit_breaker import CircuitBreaker
from collector.exchange.circuit_transitions import CLOSED, CircuitState, ProbePolicy, after_failure, circuit_from_event
from collector.exchange.failures import ExchangeFailure, RequestDeferred
from collector.exchange.health_publisher import health_event
from collector.metrics import CollectorMetrics
from contracts.exchanges import ExchangeHealthChanged
from contracts.vocabulary import ErrorClass, ExchangeState

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
BAN = ExchangeFailure(ErrorClass.BANNED, "binance has banned this IP address", retryable=True, retry_after=60)
REFUSAL = ExchangeFailure(ErrorClass.RATE_LIMITED, "too many requests", retryable=True, retry_after=90)


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def reported() -> list[CircuitState]:
    return []


@pytest.fixture
def breaker(now: list[float], reported: list[CircuitState]) -> CircuitBreaker:
    metrics = CollectorMetrics(CollectorRegistry())
    return CircuitBreaker(
        "binance", ProbePolicy(), metrics, lambda: now[0], lambda _, circuit: reported.append(circuit)
    )


def deferral_of(breaker: CircuitBreaker) -> RequestDeferred:
    with pytest.raises(RequestDeferred) as caught, breaker.admit_request():
        pass
    return caught.value


def test_a_closed_circuit_admits_all_requests(breaker: CircuitBreaker) -> None:
    with breaker.admit_request(), breaker.admit_request():
        breaker.check()
    assert breaker.state is ExchangeState.OK


def test_no_request_is_admitted_before_the_end_of_a_ban_and_one_probe_after_it(
    breaker: CircuitBreaker, now: list[float]
) -> None:
    breaker.record_failure(BAN, CLOSED)
    deferral = deferral_of(breaker)
    assert (deferral.error_class, deferral.retry_after, deferral.until_is_known) == (ErrorClass.BANNED, 60.0, True)
    now[0] += 60
    with breaker.admit_request() as admitted_under:
        breaker.check()
        second = deferral_of(breaker)
        assert second.retry_after is None
        breaker.record_response(admitted_under)
    assert second.circuit_changed.is_set()
    assert breaker.state is ExchangeState.OK


def test_a_request_that_waited_for_the_rate_limit_since_before_the_ban_is_deferred(breaker: CircuitBreaker) -> None:
    with breaker.admit_request():
        breaker.record_failure(BAN, CLOSED)
        with pytest.raises(RequestDeferred):
            breaker.check()


def test_a_probe_that_waits_for_the_rate_limit_is_deferred_if_another_refusal_arrives(
    breaker: CircuitBreaker, now: list[float]
) -> None:
    breaker.record_failure(BAN, CLOSED)
    now[0] += 60
    with breaker.admit_request():
        breaker.record_failure(REFUSAL, CLOSED)  # sent before the ban; the response is late
        with pytest.raises(RequestDeferred):
            breaker.check()
    assert deferral_of(breaker).retry_after == 90


def test_if_a_probe_is_cancelled_the_next_request_may_be_the_probe(breaker: CircuitBreaker, now: list[float]) -> None:
    breaker.record_failure(BAN, CLOSED)
    now[0] += 61
    deferrals = []

    def probe() -> None:
        with breaker.admit_request():
            deferrals.append(deferral_of(breaker))
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        probe()
    assert deferrals[0].circuit_changed.is_set()
    with breaker.admit_request():
        assert breaker.state is ExchangeState.BANNED


def test_the_first_response_and_then_every_change_is_reported_with_its_end(
    breaker: CircuitBreaker, now: list[float], reported: list[CircuitState]
) -> None:
    breaker.record_response(CLOSED)
    breaker.record_response(CLOSED)
    breaker.record_failure(BAN, CLOSED)
    now[0] += 60
    with breaker.admit_request() as admitted_under:
        breaker.record_failure(REFUSAL, admitted_under)
    now[0] += 90
    with breaker.admit_request() as admitted_under:
        breaker.record_response(admitted_under)
    assert [(each.state, each.until) for each in reported] == [
        (ExchangeState.OK, 0.0),
        (ExchangeState.BANNED, 1060.0),
        (ExchangeState.THROTTLED, 1150.0),
        (ExchangeState.OK, 0.0),
    ]


def test_each_change_of_the_circuit_is_logged_with_its_end_and_reason(
    breaker: CircuitBreaker, now: list[float]
) -> None:
    with structlog.testing.capture_logs() as lines:
        breaker.record_failure(BAN, CLOSED)
        now[0] += 60
        with breaker.admit_request() as admitted_under:
            breaker.record_response(admitted_under)
    opened, closed = lines
    assert re.fullmatch(
        r"Circuit opened for binance: requests are suspended until \d\d:\d\d:\d\d UTC \(banned, Retry-After 60 s\)",
        opened["event"],
    )
    assert (opened["state"], opened["wait_seconds"], opened["error"]) == ("banned", 60.0, BAN.message)
    assert closed["event"] == "Circuit closed for binance: requests continue"


def test_a_ban_that_another_collector_published_lasts_until_its_end_and_is_not_published_again(
    breaker: CircuitBreaker, now: list[float], reported: list[CircuitState]
) -> None:
    breaker.adopt(circuit_from_event(published(BAN), NOON + timedelta(seconds=20), now[0], max_wait=86_400))
    deferral = deferral_of(breaker)
    assert (deferral.error_class, deferral.retry_after, deferral.until_is_known) == (ErrorClass.BANNED, 40.0, True)
    assert reported == []
    now[0] += 40
    with breaker.admit_request() as admitted_under:
        breaker.record_response(admitted_under)
    assert [each.state for each in reported] == [ExchangeState.OK]


@pytest.mark.parametrize(("seconds", "wait"), [(60.0, None), (61.0, None), (-1e6, 3600.0)])
def test_a_published_end_in_the_past_is_ignored_and_one_in_the_far_future_is_shortened(
    seconds: float, wait: float | None
) -> None:
    circuit = circuit_from_event(published(BAN), NOON + timedelta(seconds=seconds), 0.0, max_wait=3600)
    assert circuit == CLOSED if wait is None else circuit.until == wait


def published(failure: ExchangeFailure) -> ExchangeHealthChanged:
    """The event that a collector publishes at noon after this failure."""
    circuit = after_failure(CLOSED, failure, admitted_under=CLOSED, now=0.0, policy=ProbePolicy())
    return health_event("binance", circuit, "elsewhere:1", NOON, 0.0)
