"""Who may ask an exchange that is not well. Time is a list of one number."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from collector.exchange.gate import Gate
from collector.exchange.health import FINE, Health, ProbePolicy, after_failure, health_of
from collector.exchange_news import health_event
from collector.failures import Deferred, ExchangeFailure
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
def told() -> list[Health]:
    return []


@pytest.fixture
def gate(now: list[float], told: list[Health]) -> Gate:
    metrics = CollectorMetrics(CollectorRegistry())
    return Gate("binance", ProbePolicy(), metrics, lambda: now[0], lambda _, health: told.append(health))


def turned_back(gate: Gate) -> Deferred:
    with pytest.raises(Deferred) as caught, gate.passing():
        pass
    return caught.value


def test_while_all_is_well_everybody_passes(gate: Gate) -> None:
    with gate.passing(), gate.passing():
        gate.check()
    assert gate.state is ExchangeState.OK


def test_nobody_passes_before_the_end_and_one_probe_after_it(gate: Gate, now: list[float]) -> None:
    gate.failed(BAN, FINE)
    deferral = turned_back(gate)
    assert (deferral.error_class, deferral.retry_after, deferral.told) == (ErrorClass.BANNED, 60.0, True)
    now[0] += 60
    with gate.passing() as health:
        gate.check()
        behind = turned_back(gate)
        assert behind.retry_after is None
        gate.answered(health)
    assert behind.changed.is_set()
    assert gate.state is ExchangeState.OK


def test_who_waited_for_the_throttle_since_before_the_ban_is_turned_back(gate: Gate) -> None:
    with gate.passing():
        gate.failed(BAN, FINE)
        with pytest.raises(Deferred):
            gate.check()


def test_a_probe_that_waits_for_the_throttle_heeds_what_is_heard_meanwhile(gate: Gate, now: list[float]) -> None:
    gate.failed(BAN, FINE)
    now[0] += 60
    with gate.passing():
        gate.failed(REFUSAL, FINE)  # asked before the ban, answered late
        with pytest.raises(Deferred):
            gate.check()
    assert turned_back(gate).retry_after == 90


def test_a_probe_that_came_to_nothing_of_its_own_leaves_the_looking_to_the_next(gate: Gate, now: list[float]) -> None:
    gate.failed(BAN, FINE)
    now[0] += 61
    behind = []

    def probe() -> None:
        with gate.passing():
            behind.append(turned_back(gate))
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        probe()
    assert behind[0].changed.is_set()
    with gate.passing():
        assert gate.state is ExchangeState.BANNED


def test_the_first_answer_is_told_and_then_every_change_with_what_it_is_until(
    gate: Gate, now: list[float], told: list[Health]
) -> None:
    gate.answered(FINE)
    gate.answered(FINE)
    gate.failed(BAN, FINE)
    now[0] += 60
    with gate.passing() as health:
        gate.failed(REFUSAL, health)
    now[0] += 90
    with gate.passing() as health:
        gate.answered(health)
    assert [(each.state, each.until) for each in told] == [
        (ExchangeState.OK, 0.0),
        (ExchangeState.BANNED, 1060.0),
        (ExchangeState.THROTTLED, 1150.0),
        (ExchangeState.OK, 0.0),
    ]


def test_a_ban_that_another_collector_published_holds_until_its_end_and_is_not_published_again(
    gate: Gate, now: list[float], told: list[Health]
) -> None:
    gate.adopt(health_of(published(BAN), NOON + timedelta(seconds=20), now[0], longest=86_400))
    deferral = turned_back(gate)
    assert (deferral.error_class, deferral.retry_after, deferral.told) == (ErrorClass.BANNED, 40.0, True)
    assert told == []
    now[0] += 40
    with gate.passing() as health:
        gate.answered(health)
    assert [each.state for each in told] == [ExchangeState.OK]


@pytest.mark.parametrize(("seconds", "wait"), [(60.0, None), (61.0, None), (-1e6, 3600.0)])
def test_an_end_that_has_passed_holds_nobody_and_one_far_away_is_shortened(seconds: float, wait: float | None) -> None:
    health = health_of(published(BAN), NOON + timedelta(seconds=seconds), 0.0, longest=3600)
    assert health == FINE if wait is None else health.until == wait


def published(failure: ExchangeFailure) -> ExchangeHealthChanged:
    """As a collector publishes at noon what this failure made of an exchange."""
    health = after_failure(FINE, failure, asked_under=FINE, now=0.0, policy=ProbePolicy())
    return health_event("binance", health, "elsewhere:1", NOON, 0.0)
