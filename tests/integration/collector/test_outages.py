"""An open circuit: no request before its end, then one probe at a time, and recovery without an operator."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from collector.exchange.circuit_transitions import ProbePolicy
from collector.exchange.failures import ExchangeFailure, RequestDeferred
from collector.run.retry_policy import RetryPolicy
from contracts.vocabulary import ErrorClass
from support.collecting import QUICK, Exchanges, Simulator, rows_of
from support.polling import eventually

LONG_WAITS = RetryPolicy(initial_wait=0.02, max_wait=5.0, max_retries=1)


def state_changes(exchanges: Exchanges, exchange: str, state: str) -> float:
    return exchanges.count("candlekeep_exchange_state_changes_total", exchange=exchange, state=state)


def current_state(exchanges: Exchanges, exchange: str) -> str:
    return next(
        state
        for state in ("ok", "throttled", "banned", "maintenance", "unreachable")
        if exchanges.count("candlekeep_exchange_state", exchange=exchange, state=state) == 1
    )


async def request_times(simulator: Simulator, exchange: str) -> list[int]:
    return [each["received_at"] for each in await simulator.requests(exchange)]


@pytest.mark.parametrize("kind", ["rate_limit", "ban"])
async def test_no_request_before_the_known_end_then_one_probe_and_the_others_at_the_rate_limit(
    kind: str, simulator: Simulator, exchanges_at: Callable[..., Exchanges]
) -> None:
    exchanges = exchanges_at(simulator.base)
    await exchanges.warm_up("coinbase")
    await simulator.add_mood(kind, exchange="coinbase", count=1, retry_after=2)
    first = asyncio.create_task(exchanges.collect("coinbase", "1m", policy=LONG_WAITS))
    await eventually(lambda: request_times(simulator, "coinbase"))
    await eventually(lambda: current_state(exchanges, "coinbase") != "ok")
    await asyncio.gather(first, *(exchanges.collect("coinbase", "1h", policy=LONG_WAITS) for _ in range(30)))
    refused, probe, *rest = await request_times(simulator, "coinbase")
    assert probe - refused >= 1990
    assert len(rest) >= 30
    # 34 ms per unit, 3 units per request; the first unit is free.
    assert rest[-1] - rest[0] >= (len(rest) - 2) * 102 * 0.95
    tenths = [later - earlier for earlier, later in zip(rest, rest[10:], strict=False)]
    assert min(tenths) >= 700, tenths  # 1020 ms, less the differences in latency
    state = {"rate_limit": "throttled", "ban": "banned"}[kind]
    assert (state_changes(exchanges, "coinbase", state), state_changes(exchanges, "coinbase", "ok")) == (1, 1)


async def test_a_ban_beyond_the_deadline_ends_runs_at_once_as_banned_without_a_request(
    simulator: Simulator, exchanges_at: Callable[..., Exchanges]
) -> None:
    exchanges = exchanges_at(simulator.base)
    await exchanges.warm_up("binance")
    await simulator.add_mood("ban", exchange="binance", count=1, retry_after=300)
    with pytest.raises(ExchangeFailure):
        await exchanges.collect("binance", policy=LONG_WAITS)
    for _ in range(50):
        with pytest.raises(
            RequestDeferred, match=r"binance has banned this IP address until .* the next run collects"
        ) as caught:
            await exchanges.collect("binance", policy=LONG_WAITS)
        assert caught.value.error_class is ErrorClass.BANNED
    assert len(await request_times(simulator, "binance")) == 1
    assert current_state(exchanges, "binance") == "banned"
    assert state_changes(exchanges, "binance", "banned") == 1
    assert exchanges.count("candlekeep_exchange_retries_total", exchange="binance", error_class="banned") == 0


@pytest.mark.parametrize(
    ("mood", "state", "error_class"),
    [
        ({"kind": "maintenance"}, "maintenance", ErrorClass.MAINTENANCE),
        ({"kind": "error", "status": 503}, "unreachable", ErrorClass.UNAVAILABLE),
        ({"kind": "reset"}, "unreachable", ErrorClass.UNAVAILABLE),
    ],
)
async def test_an_outage_gets_one_probe_at_a_time_and_the_circuit_closes_without_an_operator(
    mood: dict[str, Any],
    state: str,
    error_class: ErrorClass,
    simulator: Simulator,
    exchanges_at: Callable[..., Exchanges],
) -> None:
    exchanges = exchanges_at(simulator.base, probe_policy=ProbePolicy(initial_wait=0.5, max_wait=0.5, failure_limit=3))
    await exchanges.warm_up("okx")
    await simulator.add_mood(**mood, exchange="okx")
    no_retries = RetryPolicy(max_retries=0, max_retries_by_class={})
    while current_state(exchanges, "okx") != state:
        with pytest.raises(ExchangeFailure):
            await exchanges.collect("okx", policy=no_retries)
    before = len(await request_times(simulator, "okx"))
    waiting = [asyncio.create_task(exchanges.collect("okx", "1m", policy=LONG_WAITS)) for _ in range(20)]
    await asyncio.sleep(1.8)  # the duration of the outage
    probes = (await request_times(simulator, "okx"))[before:]
    assert 1 <= len(probes) <= 8  # the HTTP client tries a reset connection twice
    with pytest.raises(RequestDeferred) as caught:
        await exchanges.collect("okx", policy=QUICK)
    assert caught.value.error_class is error_class
    await simulator.clear_moods()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(1 for each in ended if not isinstance(each, BaseException)) >= 15
    assert current_state(exchanges, "okx") == "ok"
    assert (state_changes(exchanges, "okx", state), state_changes(exchanges, "okx", "ok")) == (1, 1)


async def test_if_the_run_of_a_probe_is_cancelled_another_run_sends_the_next_probe(
    simulator: Simulator, exchanges_at: Callable[..., Exchanges]
) -> None:
    exchanges = exchanges_at(simulator.base)
    await exchanges.warm_up("binance")
    await simulator.add_mood("rate_limit", exchange="binance", count=1, retry_after=0.3)
    with pytest.raises(ExchangeFailure):
        await exchanges.collect("binance", policy=RetryPolicy(max_retries=0, max_retries_by_class={}))
    await simulator.add_mood("latency", exchange="binance", count=1, latency_ms=60_000)
    await asyncio.sleep(0.4)
    probing = asyncio.create_task(exchanges.collect("binance", policy=LONG_WAITS))
    await eventually(lambda: exchanges.count("candlekeep_rate_limit_wait_seconds_count", exchange="binance") >= 3)
    others = [asyncio.create_task(exchanges.collect("binance", policy=LONG_WAITS)) for _ in range(3)]
    await asyncio.sleep(0.1)
    assert current_state(exchanges, "binance") == "throttled"
    probing.cancel()
    async with asyncio.timeout(20):
        timeframe_runs = await asyncio.gather(*others)
    assert all(rows_of(each) for each in timeframe_runs)
    assert current_state(exchanges, "binance") == "ok"


async def test_the_circuit_breaker_also_applies_to_reading_the_markets(
    simulator: Simulator, exchanges_at: Callable[..., Exchanges]
) -> None:
    exchanges = exchanges_at(simulator.base)
    await simulator.add_mood("ban", exchange="kraken", count=1, retry_after=300)
    for _ in range(10):
        with pytest.raises(ExchangeFailure) as caught:
            await exchanges.collect("kraken", policy=LONG_WAITS)
        assert caught.value.error_class is ErrorClass.BANNED
    assert len(await simulator.all_requests("kraken")) == 1
