"""An exchange that is not well: nobody asks it before its time, one probe looks, and all goes on by itself."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from collector.exchange.circuit_state import ProbePolicy
from collector.exchange.failures import ExchangeFailure, RequestDeferred
from collector.run.retry_policy import RetryPolicy
from contracts.vocabulary import ErrorClass
from support.collecting import QUICK, Exchanges, Simulator
from support.polling import eventually

CALM = RetryPolicy(first_wait=0.02, longest_wait=5.0, max_retries=1)


def changes(exchanges: Exchanges, exchange: str, state: str) -> float:
    return exchanges.count("candlekeep_exchange_state_changes_total", exchange=exchange, state=state)


def is_in(exchanges: Exchanges, exchange: str) -> str:
    return next(
        state
        for state in ("ok", "throttled", "banned", "maintenance", "unreachable")
        if exchanges.count("candlekeep_exchange_state", exchange=exchange, state=state) == 1
    )


async def asked_at(simulator: Simulator, exchange: str) -> list[int]:
    return [each["received_at"] for each in await simulator.requests(exchange)]


@pytest.mark.parametrize("kind", ["rate_limit", "ban"])
async def test_nobody_asks_before_the_told_end_and_then_one_does_and_the_rest_keep_the_pace(
    kind: str, simulator: Simulator, exchanges_at: Callable[..., Exchanges]
) -> None:
    exchanges = exchanges_at(simulator.base)
    await exchanges.warm_up("coinbase")
    await simulator.mood(kind, exchange="coinbase", count=1, retry_after=2)
    first = asyncio.create_task(exchanges.collect("coinbase", "1m", policy=CALM))
    await eventually(lambda: asked_at(simulator, "coinbase"))
    await eventually(lambda: is_in(exchanges, "coinbase") != "ok")
    await asyncio.gather(first, *(exchanges.collect("coinbase", "1h", policy=CALM) for _ in range(30)))
    refused, probe, *rest = await asked_at(simulator, "coinbase")
    assert probe - refused >= 1990
    assert len(rest) >= 30
    assert rest[-1] - rest[0] >= (len(rest) - 2) * 102 * 0.95  # 34 ms a unit, 3 units per request, one unit saved up
    tenths = [later - earlier for earlier, later in zip(rest, rest[10:], strict=False)]
    assert min(tenths) >= 700, tenths  # 1020 ms, had every request arrived as punctually as it left
    state = {"rate_limit": "throttled", "ban": "banned"}[kind]
    assert (changes(exchanges, "coinbase", state), changes(exchanges, "coinbase", "ok")) == (1, 1)


async def test_a_ban_beyond_the_deadline_ends_runs_at_once_under_its_name_without_a_request(
    simulator: Simulator, exchanges_at: Callable[..., Exchanges]
) -> None:
    exchanges = exchanges_at(simulator.base)
    await exchanges.warm_up("binance")
    await simulator.mood("ban", exchange="binance", count=1, retry_after=300)
    with pytest.raises(ExchangeFailure):
        await exchanges.collect("binance", policy=CALM)
    for _ in range(50):
        with pytest.raises(
            RequestDeferred, match=r"binance has banned this address until .* the next run collects"
        ) as caught:
            await exchanges.collect("binance", policy=CALM)
        assert caught.value.error_class is ErrorClass.BANNED
    assert len(await asked_at(simulator, "binance")) == 1
    assert is_in(exchanges, "binance") == "banned"
    assert changes(exchanges, "binance", "banned") == 1
    assert exchanges.count("candlekeep_exchange_retries_total", exchange="binance", error_class="banned") == 0


@pytest.mark.parametrize(
    ("mood", "state", "error_class"),
    [
        ({"kind": "maintenance"}, "maintenance", ErrorClass.MAINTENANCE),
        ({"kind": "error", "status": 503}, "unreachable", ErrorClass.UNAVAILABLE),
        ({"kind": "reset"}, "unreachable", ErrorClass.UNAVAILABLE),
    ],
)
async def test_an_outage_is_probed_by_one_at_a_time_and_ends_by_itself(
    mood: dict[str, Any],
    state: str,
    error_class: ErrorClass,
    simulator: Simulator,
    exchanges_at: Callable[..., Exchanges],
) -> None:
    exchanges = exchanges_at(simulator.base, probing=ProbePolicy(first=0.5, longest=0.5, strikes=3))
    await exchanges.warm_up("okx")
    await simulator.mood(**mood, exchange="okx")
    never = RetryPolicy(max_retries=0, max_retries_by_class={})
    while is_in(exchanges, "okx") != state:
        with pytest.raises(ExchangeFailure):
            await exchanges.collect("okx", policy=never)
    before = len(await asked_at(simulator, "okx"))
    waiting = [asyncio.create_task(exchanges.collect("okx", "1m", policy=CALM)) for _ in range(20)]
    await asyncio.sleep(1.8)  # the time that the outage goes on
    probes = (await asked_at(simulator, "okx"))[before:]
    assert 1 <= len(probes) <= 8  # a reset connection is tried twice by the HTTP client
    with pytest.raises(RequestDeferred) as caught:
        await exchanges.collect("okx", policy=QUICK)
    assert caught.value.error_class is error_class
    await simulator.cheer_up()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(1 for each in ended if not isinstance(each, BaseException)) >= 15
    assert is_in(exchanges, "okx") == "ok"
    assert (changes(exchanges, "okx", state), changes(exchanges, "okx", "ok")) == (1, 1)


async def test_a_probe_whose_run_is_over_leaves_the_looking_to_another(
    simulator: Simulator, exchanges_at: Callable[..., Exchanges]
) -> None:
    exchanges = exchanges_at(simulator.base)
    await exchanges.warm_up("binance")
    await simulator.mood("rate_limit", exchange="binance", count=1, retry_after=0.3)
    with pytest.raises(ExchangeFailure):
        await exchanges.collect("binance", policy=RetryPolicy(max_retries=0, max_retries_by_class={}))
    await simulator.mood("latency", exchange="binance", count=1, latency_ms=3000)
    await asyncio.sleep(0.4)
    probing = asyncio.create_task(exchanges.collect("binance", policy=CALM))
    await eventually(lambda: exchanges.count("candlekeep_rate_limit_wait_seconds_count", exchange="binance") >= 3)
    others = [asyncio.create_task(exchanges.collect("binance", policy=CALM)) for _ in range(3)]
    await asyncio.sleep(0.1)
    assert is_in(exchanges, "binance") == "throttled"
    probing.cancel()
    async with asyncio.timeout(2):
        series = await asyncio.gather(*others)
    assert all(each.count > 0 for each in series)
    assert is_in(exchanges, "binance") == "ok"


async def test_reading_the_markets_is_paced_and_held_back_like_all_else(
    simulator: Simulator, exchanges_at: Callable[..., Exchanges]
) -> None:
    exchanges = exchanges_at(simulator.base)
    await simulator.mood("ban", exchange="kraken", count=1, retry_after=300)
    for _ in range(10):
        with pytest.raises(ExchangeFailure) as caught:
            await exchanges.collect("kraken", policy=CALM)
        assert caught.value.error_class is ErrorClass.BANNED
    assert len(await simulator.all_requests("kraken")) == 1
