"""Who may ask an exchange that is not well. Time is a list of one number."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from collector.exchange.circuit_breaker import CircuitBreaker
from collector.exchange.circuit_state import CLOSED, CircuitState, ProbePolicy, after_failure, health_of
from collector.exchange.failures import ExchangeFailure, RequestDeferred
from collector.exchange.health_publisher import health_event
from collector.metrics import CollectorMetrics
from contracts.exchanges import ExchangeHealthChanged
from contracts.vocabulary import ErrorClass, ExchangeState

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
BAN = ExchangeFailure(ErrorClass.BANNED, "binance has banned us", retryable=True, retry_after=60)
REFUSAL = ExchangeFailure(ErrorClass.RATE_LIMITED, "too often", retryable=True, retry_after=90)


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def told() -> list[CircuitState]:
    return []


@pytest.fixture
def breaker(now: list[float], told: list[CircuitState]) -> CircuitBreaker:
    metrics = CollectorMetrics(CollectorRegistry())
    return CircuitBreaker("binance", ProbePolicy(), metrics, lambda: now[0], lambda _, health: told.append(health))


def turned_back(breaker: CircuitBreaker) -> RequestDeferred:
    with pytest.raises(RequestDeferred) as caught, breaker.passing():
        pass
    return caught.value


def test_while_all_is_well_everybody_passes(breaker: CircuitBreaker) -> None:
    with breaker.passing(), breaker.passing():
        breaker.check()
    assert breaker.state is ExchangeState.OK


def test_nobody_passes_before_the_end_and_one_probe_after_it(breaker: CircuitBreaker, now: list[float]) -> None:
    breaker.failed(BAN, CLOSED)
    deferral = turned_back(breaker)
    assert (deferral.error_class, deferral.retry_after, deferral.told) == (ErrorClass.BANNED, 60.0, True)
    now[0] += 60
    with breaker.passing() as health:
        breaker.check()
        behind = turned_back(breaker)
        assert behind.retry_after is None
        breaker.answered(health)
    assert behind.changed.is_set()
    assert breaker.state is ExchangeState.OK


def test_who_waited_for_the_throttle_since_before_the_ban_is_turned_back(breaker: CircuitBreaker) -> None:
    with breaker.passing():
        breaker.failed(BAN, CLOSED)
        with pytest.raises(RequestDeferred):
            breaker.check()


def test_a_probe_that_waits_for_the_throttle_heeds_what_is_heard_meanwhile(
    breaker: CircuitBreaker, now: list[float]
) -> None:
    breaker.failed(BAN, CLOSED)
    now[0] += 60
    with breaker.passing():
        breaker.failed(REFUSAL, CLOSED)  # asked before the ban, answered late
        with pytest.raises(RequestDeferred):
            breaker.check()
    assert turned_back(breaker).retry_after == 90


def test_a_probe_that_came_to_nothing_of_its_own_leaves_the_looking_to_the_next(
    breaker: CircuitBreaker, now: list[float]
) -> None:
    breaker.failed(BAN, CLOSED)
    now[0] += 61
    behind = []

    def probe() -> None:
        with breaker.passing():
            behind.append(turned_back(breaker))
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        probe()
    assert behind[0].changed.is_set()
    with breaker.passing():
        assert breaker.state is ExchangeState.BANNED


def test_the_first_answer_is_told_and_then_every_change_with_what_it_is_until(
    breaker: CircuitBreaker, now: list[float], told: list[CircuitState]
) -> None:
    breaker.answered(CLOSED)
    breaker.answered(CLOSED)
    breaker.failed(BAN, CLOSED)
    now[0] += 60
    with breaker.passing() as health:
        breaker.failed(REFUSAL, health)
    now[0] += 90
    with breaker.passing() as health:
        breaker.answered(health)
    assert [(each.state, each.until) for each in told] == [
        (ExchangeState.OK, 0.0),
        (ExchangeState.BANNED, 1060.0),
        (ExchangeState.THROTTLED, 1150.0),
        (ExchangeState.OK, 0.0),
    ]


def test_a_ban_that_another_collector_published_holds_until_its_end_and_is_not_published_again(
    breaker: CircuitBreaker, now: list[float], told: list[CircuitState]
) -> None:
    breaker.adopt(health_of(published(BAN), NOON + timedelta(seconds=20), now[0], longest=86_400))
    deferral = turned_back(breaker)
    assert (deferral.error_class, deferral.retry_after, deferral.told) == (ErrorClass.BANNED, 40.0, True)
    assert told == []
    now[0] += 40
    with breaker.passing() as health:
        breaker.answered(health)
    assert [each.state for each in told] == [ExchangeState.OK]


@pytest.mark.parametrize(("seconds", "wait"), [(60.0, None), (61.0, None), (-1e6, 3600.0)])
def test_an_end_that_has_passed_holds_nobody_and_one_far_away_is_shortened(seconds: float, wait: float | None) -> None:
    health = health_of(published(BAN), NOON + timedelta(seconds=seconds), 0.0, longest=3600)
    assert health == CLOSED if wait is None else health.until == wait


def published(failure: ExchangeFailure) -> ExchangeHealthChanged:
    """As a collector publishes at noon what this failure made of an exchange."""
    health = after_failure(CLOSED, failure, asked_under=CLOSED, now=0.0, policy=ProbePolicy())
    return health_event("binance", health, "elsewhere:1", NOON, 0.0)
