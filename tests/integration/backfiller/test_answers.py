"""The answers to a request close its chunk, fail it with a reason, or make it come again."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.coverage import Absence, AbsenceClass, Span
from contracts.ranges import Purpose, RangeDue
from contracts.vocabulary import ErrorClass
from runtime.process.worker import Worker
from runtime.settings import KafkaSettings
from support.backfilling.collector import Answer, collecting, everything, unproven
from support.backfilling.current_minute import minutes_ago, now, start_date
from support.backfilling.tables import (
    OPEN_MINUTES,
    a_covered_series,
    chunks,
    chunks_by_state,
    none_open,
    store_backfill,
    store_config,
)
from support.polling import eventually
from support.stored_ledgers import AbsentSpan, store_ledger, store_series
from support.writers import query, running

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]


async def test_failures_come_again_until_the_hole_is_closed(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    """The first attempt fails, the second proves nothing, the third proves a part, the fourth the rest."""

    def script(request: RangeDue) -> Answer:
        start, end = request.span.start, request.span.end
        match request.attempt:
            case 0:
                return Answer(error=ErrorClass.TIMEOUT)
            case 1:
                return Answer(absences=(unproven(request),))
            case 2:
                return Answer((Span(start=start + (end - start) / 2, end=end),), error=ErrorClass.DEADLINE_EXCEEDED)
            case _:
                return everything(request)

    await a_covered_series(engine, (minutes_ago(3000), minutes_ago(200)), (minutes_ago(100), minutes_ago(1)))
    await store_config(engine)
    async with collecting(kafka_settings, engine, script) as collector, running(a_worker()):
        await eventually(lambda: none_open(database_url), within=60)
    assert [each.attempt for each in collector.requests] == [0, 1, 2, 3]
    assert len({each.run_id for each in collector.requests}) == 4
    assert collector.requests[3].span.end == collector.requests[2].span.start + timedelta(minutes=50)


async def test_candles_from_trades_end_with_a_reason_or_verify_the_time_that_the_exchange_lost(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    """The ledger has all of it as lost, which is final for every other request. The first series is refused."""
    names: dict[str, Any] = {"exchange": "kraken", "timeframe": "1m"}
    for symbol in ("BTC/USD", "ETH/USD"):
        series_id = await store_series(engine, symbol=symbol, **names)
        lost = [AbsentSpan(minutes_ago(3000), minutes_ago(730), "lost")]
        await store_ledger(engine, series_id, [(minutes_ago(730), minutes_ago(1))], lost)
        config_id = await store_config(engine, symbol=symbol, **names)
        start = now() - timedelta(minutes=2000)
        await store_backfill(engine, start, now(), source="trades", symbol=symbol, config_id=config_id, **names)
    problem = ErrorClass.UNPROVEN_TRADES

    def script(request: RangeDue) -> Answer:
        return Answer(error=problem) if request.symbol == "BTC/USD" else everything(request)

    async with collecting(kafka_settings, engine, script) as collector, running(a_worker()):
        await eventually(lambda: _no_chunk_waits(database_url), within=60)
        states = await _chunk_states(database_url)
    assert {each.purpose for each in collector.requests} == {Purpose.TRADES}
    assert {each.span.start for each in collector.requests} >= {now() - timedelta(minutes=2000)}
    assert max(each.span.end for each in collector.requests) == now() - timedelta(minutes=730)
    assert states["verified"] == {"ETH/USD"}
    assert states["failed"] == {"BTC/USD"}
    [(left,)] = await query(database_url, OPEN_MINUTES, now() - timedelta(minutes=2000), now() - timedelta(minutes=1))
    assert left == 1270, "all of one series"


async def _chunk_states(database_url: str) -> dict[str, set[str]]:
    """State to the symbols of its chunks."""
    statement = "SELECT state, array_agg(symbol) FROM backfill_chunks JOIN series ON series.id = series_id GROUP BY 1"
    return {state: set(symbols) for state, symbols in await query(database_url, statement)}


async def _no_chunk_waits(database_url: str) -> bool:
    """And one series has failed, and the other one has ended."""
    return (await _chunk_states(database_url)).keys() == {"failed", "verified"}


async def test_a_chunk_that_waits_says_why_and_until_when(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    def script(request: RangeDue) -> Answer:
        if request.exchange == "binance":
            return Answer(absences=(unproven(request),))
        return Answer(error=ErrorClass.BAD_SYMBOL)

    for exchange in ("binance", "bybit"):
        names = {"exchange": exchange}
        await a_covered_series(
            engine, (minutes_ago(900), minutes_ago(200)), (minutes_ago(100), minutes_ago(1)), **names
        )
        await store_config(engine, exchange=exchange)

    async def both() -> bool:
        rows = await chunks(database_url, "exchange, state, error_class, reason", "attempts > 0")
        assert [row[:3] for row in sorted(rows)] == [("binance", "waiting", None), ("bybit", "failed", "bad_symbol")]
        unproven, failed = (row[3] for row in sorted(rows))
        assert "nothing proves up to 100 candles from" in unproven
        assert "(unknown: the answer was empty)" in unproven
        assert failed == "the exchange says bad_symbol"
        return True

    async with collecting(kafka_settings, engine, script), running(a_worker(retry_initial_wait_seconds=3600)):
        await eventually(both, within=30)
    [(pause,)] = await chunks(
        database_url, "round(extract(epoch FROM next_attempt_at - now()) / 3600)::int", "state = 'failed'"
    )
    assert pause == 24


async def test_lost_time_is_classified(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    def script(request: RangeDue) -> Answer:
        lost = Absence(
            start=request.span.start,
            end=request.span.end,
            absence_class=AbsenceClass.BEYOND_HORIZON,
            evidence="the exchange keeps 720 candles",
        )
        return Answer(absences=(lost,))

    await a_covered_series(engine, (minutes_ago(600), minutes_ago(1)), exchange="kraken")
    await store_config(engine, start_date(2), exchange="kraken")
    async with collecting(kafka_settings, engine, script) as collector, running(a_worker()):
        await eventually(lambda: none_open(database_url), within=60)
    assert set(await chunks_by_state(database_url)) == {"classified"}
    assert len(collector.requests) <= 3  # all time that is lost already is one chunk
    for (reason,) in await chunks(database_url, "reason"):
        assert reason.startswith("No more candles can be collected from ")
        assert reason.endswith(" UTC (beyond_horizon: the exchange keeps 720 candles).")
