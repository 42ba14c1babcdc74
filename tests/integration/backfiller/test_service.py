"""The whole backfiller against real Kafka and Postgres, with a collector that answers as each test wants."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from backfiller.app import build_worker
from backfiller.settings import BackfillerSettings
from contracts.coverage import Absence, AbsenceClass, Span, to_milliseconds
from contracts.exchanges import ExchangeHealthChanged
from contracts.ranges import Purpose, RangeDue
from contracts.topics import EXCHANGE_HEALTH
from contracts.vocabulary import ErrorClass, ExchangeState, JobType
from local_stack.keeper import KeptPostgres
from runtime.process.worker import Worker
from runtime.settings import KafkaSettings
from support.backfilling.collector import Answer, collecting, everything
from support.backfilling.tables import (
    OPEN_MINUTES,
    OVERLAPS,
    chunks,
    chunks_by_state,
    store_backfill,
    store_config,
)
from support.polling import eventually
from support.stored_ledgers import MINUTE, AbsentSpan, store_ledger, store_series
from support.writers import database_away, measured, publish, query, running, worker_settings

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
"""The minute in which the test starts, see `current_minute`."""
DAY = 1440


@pytest.fixture(autouse=True)
def current_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of a long session start long after this module was imported."""
    monkeypatch.setitem(globals(), "NOW", datetime.now(UTC).replace(second=0, microsecond=0))


def minutes_ago(minutes: float) -> int:
    return to_milliseconds(NOW) - int(minutes * MINUTE)


def start_date(days: int) -> str:
    return (NOW - timedelta(days=days)).date().isoformat()


def first_minute(days: int) -> datetime:
    return (NOW - timedelta(days=days)).replace(hour=0, minute=0)


@pytest.fixture
def a_worker(kafka_settings: KafkaSettings, login_url: Callable[[str], str]) -> Callable[..., Worker]:
    """A worker with its own database role and short pauses."""

    def build(**changes: Any) -> Worker:
        fast = {"turn_seconds": 0.05, "retry_initial_wait_seconds": 0.2, "ledger_wait_seconds": 0.5}
        url = login_url("backfiller")
        return build_worker(worker_settings(BackfillerSettings, kafka_settings, url, **(fast | changes)))

    return build


async def a_covered_series(engine: AsyncEngine, *spans: tuple[int, int], **names: str) -> int:
    series_id = await store_series(engine, **names)
    await store_ledger(engine, series_id, spans)
    return series_id


async def whole(database_url: str, start: datetime, end: datetime) -> bool:
    [(open_minutes,)] = await query(database_url, OPEN_MINUTES, start, end)
    assert open_minutes == 0, f"{open_minutes} minutes are open"
    return True


async def test_the_history_from_the_start_date_is_requested_and_becomes_whole(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    await a_covered_series(engine, (minutes_ago(1000), minutes_ago(1)))
    config_id = await store_config(engine, start_date(9))
    async with collecting(kafka_settings, engine) as collector, running(a_worker()) as worker:
        await eventually(lambda: whole(database_url, first_minute(9), NOW - timedelta(minutes=1)), within=60)
        await eventually(lambda: _none_open(database_url), within=30)
    first = collector.requests[0]
    assert (first.config_id, first.exchange, first.timeframe) == (config_id, "binance", "1m")
    assert (first.purpose, first.lane, first.attempt) == (Purpose.BACKFILL, "binance", 0)
    assert first.purpose.job_type is JobType.BACKFILL
    assert to_milliseconds(first.span.end) == minutes_ago(1000)
    assert set(await chunks_by_state(database_url)) == {"verified"}
    assert measured(worker, "candlekeep_backfill_requests_total") == len(collector.requests)


async def _none_open(database_url: str) -> bool:
    states = await chunks_by_state(database_url)
    assert set(states) in ({"verified"}, {"classified"}), states
    return True


async def test_an_earlier_start_date_extends_the_history(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    await a_covered_series(engine, (to_milliseconds(first_minute(1)), minutes_ago(1)))
    config_id = await store_config(engine, start_date(1))
    async with collecting(kafka_settings, engine), running(a_worker()):
        await eventually(lambda: query(database_url, "SELECT 1 FROM series_plans WHERE planned_at IS NOT NULL"))
        assert await chunks_by_state(database_url) == {}
        change = "UPDATE data_collection_configs SET start_date = $2, updated_at = now() WHERE id = $1"
        await query(database_url, change, config_id, start_date(3))
        await eventually(lambda: whole(database_url, first_minute(3), NOW - timedelta(minutes=1)), within=60)


async def test_old_holes_are_repaired_and_young_ones_are_left_to_the_live_runs(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    verified = [(3000, 2000), (1990, 100), (90, 10), (5, 1)]
    await a_covered_series(engine, *((minutes_ago(start), minutes_ago(end)) for start, end in verified))
    await store_config(engine)
    async with collecting(kafka_settings, engine) as collector, running(a_worker()):
        end = NOW - timedelta(minutes=10)
        await eventually(lambda: whole(database_url, NOW - timedelta(minutes=3000), end), within=60)
    assert {each.purpose for each in collector.requests} == {Purpose.REPAIR}
    assert max(to_milliseconds(each.span.end) for each in collector.requests) == minutes_ago(90)
    [(young,)] = await query(database_url, OPEN_MINUTES, end, NOW - timedelta(minutes=1))
    assert young == 5


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
                return Answer(absences=(_unproven(request),))
            case 2:
                return Answer((Span(start=start + (end - start) / 2, end=end),), error=ErrorClass.DEADLINE_EXCEEDED)
            case _:
                return everything(request)

    await a_covered_series(engine, (minutes_ago(3000), minutes_ago(200)), (minutes_ago(100), minutes_ago(1)))
    await store_config(engine)
    async with collecting(kafka_settings, engine, script) as collector, running(a_worker()):
        await eventually(lambda: _none_open(database_url), within=60)
    assert [each.attempt for each in collector.requests] == [0, 1, 2, 3]
    assert len({each.run_id for each in collector.requests}) == 4
    assert collector.requests[3].span.end == collector.requests[2].span.start + timedelta(minutes=50)


def _unproven(request: RangeDue) -> Absence:
    return Absence(
        start=request.span.start,
        end=request.span.end,
        absence_class=AbsenceClass.UNKNOWN,
        evidence="the answer was empty",
    )


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
        start = NOW - timedelta(minutes=2000)
        await store_backfill(engine, start, NOW, source="trades", symbol=symbol, config_id=config_id, **names)
    problem = ErrorClass.UNPROVEN_TRADES

    def script(request: RangeDue) -> Answer:
        return Answer(error=problem) if request.symbol == "BTC/USD" else everything(request)

    async with collecting(kafka_settings, engine, script) as collector, running(a_worker()):
        await eventually(lambda: _no_chunk_waits(database_url), within=60)
        states = await _chunk_states(database_url)
    assert {each.purpose for each in collector.requests} == {Purpose.TRADES}
    assert {each.span.start for each in collector.requests} >= {NOW - timedelta(minutes=2000)}
    assert max(each.span.end for each in collector.requests) == NOW - timedelta(minutes=730)
    assert states["verified"] == {"ETH/USD"}
    assert states["failed"] == {"BTC/USD"}
    [(left,)] = await query(database_url, OPEN_MINUTES, NOW - timedelta(minutes=2000), NOW - timedelta(minutes=1))
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
            return Answer(absences=(_unproven(request),))
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
        await eventually(lambda: _none_open(database_url), within=60)
    assert set(await chunks_by_state(database_url)) == {"classified"}
    assert len(collector.requests) <= 3  # all time that is lost already is one chunk
    for (reason,) in await chunks(database_url, "reason"):
        assert reason.startswith("No more candles can be collected from ")
        assert reason.endswith(" UTC (beyond_horizon: the exchange keeps 720 candles).")


async def test_evidence_is_requested_for_what_an_answer_leaves_unknown(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    """Reading proves nothing of the holes. The evidence proves the silence of one hole and leaves the other unknown."""

    def script(request: RangeDue) -> Answer:
        span = {"start": request.span.start, "end": request.span.end}
        if request.purpose is not Purpose.EVIDENCE:
            return Answer(absences=(Absence(**span, absence_class=AbsenceClass.UNKNOWN, evidence="an empty answer"),))
        if to_milliseconds(request.span.end) <= minutes_ago(500):
            tape = Absence(**span, absence_class=AbsenceClass.NO_TRADE, evidence="contiguous ids", level=5)
            return Answer(absences=(tape,))
        later = NOW + timedelta(days=1)
        known = {"evidence": "no witness", "level": 1, "recheck_at": later}
        unknown = Absence(**span, absence_class=AbsenceClass.UNKNOWN, **known)
        return Answer(absences=(unknown,))

    verified = ((5000, 4000), (3600, 400), (390, 1))
    await a_covered_series(engine, *((minutes_ago(start), minutes_ago(end)) for start, end in verified))
    await store_config(engine)
    async with collecting(kafka_settings, engine, script) as collector, running(a_worker()):
        await eventually(lambda: _is_classified(database_url), within=60)
        await eventually(lambda: _has_attempts(database_url, 4), within=60)
    asked = [each for each in collector.requests if each.purpose is Purpose.EVIDENCE]
    spans = {(to_milliseconds(each.span.start), to_milliseconds(each.span.end)) for each in asked}
    # 400 minutes are two requests, because 300 periods are the most for one run.
    silent = {(minutes_ago(4000), minutes_ago(3700)), (minutes_ago(3700), minutes_ago(3600))}
    assert spans == {*silent, (minutes_ago(400), minutes_ago(390))}
    assert {each.deadline_seconds >= 90 for each in asked} == {True}
    assert len({each.run_id for each in asked}) == 3, "an absence with a later check is not asked about again"
    assert await query(database_url, OVERLAPS) == [(0,)]


async def test_a_proved_listing_ends_the_search_for_older_candles(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    """The request for evidence names the first verified instant. All chunks before it end with one proof."""

    def script(request: RangeDue) -> Answer:
        if request.purpose is not Purpose.EVIDENCE:
            return Answer(absences=(_unproven(request),))
        assert request.verified_from is not None
        before = Absence(
            start=datetime(2010, 1, 1, tzinfo=UTC),
            end=request.verified_from,
            absence_class=AbsenceClass.BEFORE_LISTING,
            evidence="the market was listed then",
            level=3,
        )
        return Answer(absences=(before,))

    await a_covered_series(engine, (minutes_ago(900), minutes_ago(1)))
    await store_config(engine, "listing")
    async with collecting(kafka_settings, engine, script) as collector, running(a_worker()):
        await eventually(lambda: _is_classified(database_url), within=60)
        await eventually(lambda: _none_open(database_url), within=60)
    proofs = [each for each in collector.requests if each.purpose is Purpose.EVIDENCE]
    assert {to_milliseconds(each.verified_from) for each in proofs if each.verified_from} == {minutes_ago(900)}
    assert all(each.verified_from is None for each in collector.requests if each.purpose is not Purpose.EVIDENCE)
    created = await chunks(database_url, "starts_at")
    assert len(created) < 20, "the rest of the history is not planned"


async def test_a_provisional_class_is_checked_again_when_it_is_due(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    """Two holes are provisionally tradeless. The next check of one of them is due; a trade id proves its silence."""

    def script(request: RangeDue) -> Answer:
        span = {"start": request.span.start, "end": request.span.end}
        if request.purpose is not Purpose.EVIDENCE:
            return Answer(absences=(Absence(**span, absence_class=AbsenceClass.UNKNOWN, evidence="an empty answer"),))
        tape = Absence(**span, absence_class=AbsenceClass.NO_TRADE, evidence="contiguous ids", level=5)
        return Answer(absences=(tape,))

    holes = ((4000, 3990), (3000, 2990))
    series = await store_series(engine)
    verified = ((5000, 4000), (3990, 3000), (2990, 1))
    absent = [AbsentSpan(minutes_ago(start), minutes_ago(end), "no_trade") for start, end in holes]
    await store_ledger(engine, series, [(minutes_ago(start), minutes_ago(end)) for start, end in verified], absent)
    times = "now() + CASE WHEN starts_at < $1 THEN -1 ELSE 1 END * interval '1 hour'"
    await query(database_url, f"UPDATE absences SET level = 3, recheck_at = {times}", NOW - timedelta(minutes=3500))
    await store_config(engine)
    async with collecting(kafka_settings, engine, script) as collector, running(a_worker()):
        await eventually(lambda: _is_classified(database_url), within=60)
    assert {to_milliseconds(each.span.start) for each in collector.requests} == {minutes_ago(4000)}
    assert [each.purpose for each in collector.requests][-1] is Purpose.EVIDENCE
    stored = "SELECT level, recheck_at IS NULL FROM absences ORDER BY starts_at"
    assert await query(database_url, stored) == [(5, True), (3, False)]


async def _is_classified(database_url: str) -> bool:
    return ("classified",) in await chunks(database_url, "state")


async def _has_attempts(database_url: str, attempts: int) -> bool:
    return any(found >= attempts for (found,) in await chunks(database_url, "attempts"))


async def test_a_dead_collectors_chunk_is_requested_again(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    await a_covered_series(engine, (minutes_ago(900), minutes_ago(200)), (minutes_ago(100), minutes_ago(1)))
    await store_config(engine)

    def first_dies(request: RangeDue) -> Answer:
        return Answer(silent=True) if request.attempt == 0 else everything(request)

    quick = {"run_deadline_seconds": 1, "range_grace_seconds": 0}
    async with collecting(kafka_settings, engine, first_dies) as collector, running(a_worker(**quick)):
        await eventually(lambda: _none_open(database_url), within=60)
    assert [each.attempt for each in collector.requests] == [0, 1]


async def test_a_sick_exchange_waits_without_attempts_and_others_go_on(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    def health(state: ExchangeState, until: datetime | None) -> ExchangeHealthChanged:
        return ExchangeHealthChanged(
            occurred_at=datetime.now(UTC),
            exchange="binance",
            lane="binance",
            state=state,
            until=until,
            error_class=None if until is None else ErrorClass.BANNED,
            reason=None if until is None else "HTTP 418",
            collector="scripted",
        )

    banned = health(ExchangeState.BANNED, datetime.now(UTC) + timedelta(hours=1))
    async with collecting(kafka_settings, engine) as collector, running(a_worker()):
        await publish(kafka_settings, EXCHANGE_HEALTH, [banned])
        await eventually(lambda: query(database_url, "SELECT 1 FROM lane_pauses WHERE paused_until > now()"))
        for exchange in ("binance", "bybit"):
            spans = ((minutes_ago(900), minutes_ago(200)), (minutes_ago(100), minutes_ago(1)))
            await a_covered_series(engine, *spans, exchange=exchange)
            await store_config(engine, exchange=exchange)
        await eventually(lambda: chunks(database_url, "id", "exchange = 'bybit' AND state = 'verified'"), within=30)
        assert await chunks(database_url, "state, attempts", "exchange = 'binance'") == [("waiting", 0)]
        assert {each.exchange for each in collector.requests} == {"bybit"}
        await publish(kafka_settings, EXCHANGE_HEALTH, [health(ExchangeState.OK, None)])
        await eventually(lambda: _none_open(database_url), within=30)


async def test_two_instances_share_the_work_and_keep_the_limits(
    kafka_settings: KafkaSettings, database_url: str, engine: AsyncEngine, a_worker: Callable[..., Worker]
) -> None:
    for number in range(6):
        await a_covered_series(engine, (minutes_ago(1000), minutes_ago(1)), symbol=f"C{number}/USDT")
        await store_config(engine, start_date(20), symbol=f"C{number}/USDT")
    limits = {"ranges_per_lane": 3, "fresh_chunks_per_series": 3}
    async with (
        collecting(kafka_settings, engine, seconds=0.05) as collector,
        running(a_worker(**limits)) as one,
        running(a_worker(**limits)) as two,
    ):
        await eventually(lambda: whole(database_url, first_minute(20), NOW - timedelta(minutes=1)), within=90)
        [(overlaps,)] = await query(database_url, OVERLAPS)
    assert overlaps == 0
    assert collector.most_running <= 3
    assert collector.repeated_runs() == {}
    shares = [measured(each, "candlekeep_backfill_requests_total") for each in (one, two)]
    assert sum(shares) == len(collector.requests)
    spans = sorted((each.symbol, each.span.start, each.span.end) for each in collector.requests)
    assert all(a[0] != b[0] or a[2] <= b[1] for a, b in pairwise(spans)), "a span was read twice"


@pytest.mark.parametrize("failpoint", ["backfiller.before_ranges", "backfiller.after_close"])
async def test_a_killed_backfiller_loses_no_chunk(
    kafka_settings: KafkaSettings,
    database_url: str,
    login_url: Callable[[str], str],
    engine: AsyncEngine,
    a_worker: Callable[..., Worker],
    failpoint: str,
) -> None:
    await a_covered_series(engine, (minutes_ago(1000), minutes_ago(1)))
    await store_config(engine, start_date(9))
    async with collecting(kafka_settings, engine) as collector:
        await _run_until_killed(kafka_settings, login_url("backfiller"), failpoint)
        async with running(a_worker(claim_seconds=0.5)):
            await _until_whole(database_url)
    assert {each.attempt for each in collector.requests} == {0}


async def test_the_requests_of_a_killed_backfiller_are_published_again_as_the_same_runs(
    kafka_settings: KafkaSettings,
    database_url: str,
    login_url: Callable[[str], str],
    engine: AsyncEngine,
    a_worker: Callable[..., Worker],
) -> None:
    await a_covered_series(engine, (minutes_ago(1000), minutes_ago(1)))
    await store_config(engine, start_date(9))
    await _run_until_killed(kafka_settings, login_url("backfiller"), "backfiller.after_ranges")
    assert not await chunks(database_url, "id", "state = 'requested'")
    async with running(a_worker(claim_seconds=0.5)):
        await eventually(lambda: chunks(database_url, "id", "state = 'requested'"), within=60)
        async with collecting(kafka_settings, engine) as collector:
            await _until_whole(database_url)
    assert {each.attempt for each in collector.requests} == {0}
    assert collector.repeated_runs(), "the requests of the killed process were not published again"


async def _run_until_killed(kafka: KafkaSettings, database_url: str, failpoint: str) -> None:
    """Run a backfiller that kills itself at the failpoint."""
    process = _a_process(kafka, database_url, failpoint)
    try:
        await eventually(lambda: process.poll() is not None, within=60)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGKILL


async def _until_whole(database_url: str) -> None:
    await eventually(lambda: whole(database_url, first_minute(9), NOW - timedelta(minutes=1)), within=60)
    await eventually(lambda: _none_open(database_url), within=60)


def _a_process(kafka: KafkaSettings, database_url: str, failpoint: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.kafka_bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": kafka.kafka_topic_prefix,
        "KAFKA_SESSION_TIMEOUT_MS": str(kafka.kafka_session_timeout_ms),
        "DATABASE_URL": database_url,
        "HTTP_PORT": "0",
        "CLAIM_SECONDS": "0.5",
        "FAILPOINTS": f"{failpoint}=kill",
    }
    return subprocess.Popen([sys.executable, "-m", "backfiller"], env=environment)


async def test_it_waits_for_the_database_and_continues(
    kafka_settings: KafkaSettings,
    postgres: KeptPostgres,
    database_url: str,
    engine: AsyncEngine,
    a_worker: Callable[..., Worker],
) -> None:
    await a_covered_series(engine, (minutes_ago(1000), minutes_ago(1)))
    async with running(a_worker()) as worker:
        async with database_away(postgres.url, database_url):
            await eventually(lambda: "backfill loop" in worker.health.ready_problems(), within=30)
            assert worker.health.live_problems() == {}
        await eventually(lambda: not worker.health.ready_problems(), within=30)
        await store_config(engine, start_date(3))
        async with collecting(kafka_settings, engine):
            await eventually(lambda: whole(database_url, first_minute(3), NOW - timedelta(minutes=1)), within=60)
