"""The backfiller requests evidence for time that no answer proves, and acts on it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.coverage import Absence, AbsenceClass, to_milliseconds
from contracts.ranges import Purpose, RangeDue
from runtime.process.worker import Worker
from runtime.settings import KafkaSettings
from support.backfilling.collector import Answer, collecting, unproven
from support.backfilling.current_minute import minutes_ago, now
from support.backfilling.tables import (
    OVERLAPS,
    a_covered_series,
    chunks,
    is_classified,
    none_open,
    store_config,
)
from support.polling import eventually
from support.stored_ledgers import AbsentSpan, store_ledger, store_series
from support.writers import query, running

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]


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
        later = now() + timedelta(days=1)
        known = {"evidence": "no witness", "level": 1, "recheck_at": later}
        unknown = Absence(**span, absence_class=AbsenceClass.UNKNOWN, **known)
        return Answer(absences=(unknown,))

    verified = ((5000, 4000), (3600, 400), (390, 1))
    await a_covered_series(engine, *((minutes_ago(start), minutes_ago(end)) for start, end in verified))
    await store_config(engine)
    async with collecting(kafka_settings, engine, script) as collector, running(a_worker()):
        await eventually(lambda: is_classified(database_url), within=60)
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
            return Answer(absences=(unproven(request),))
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
        await eventually(lambda: is_classified(database_url), within=60)
        await eventually(lambda: none_open(database_url), within=60)
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
    await query(database_url, f"UPDATE absences SET level = 3, recheck_at = {times}", now() - timedelta(minutes=3500))
    await store_config(engine)
    async with collecting(kafka_settings, engine, script) as collector, running(a_worker()):
        await eventually(lambda: is_classified(database_url), within=60)
    assert {to_milliseconds(each.span.start) for each in collector.requests} == {minutes_ago(4000)}
    assert [each.purpose for each in collector.requests][-1] is Purpose.EVIDENCE
    stored = "SELECT level, recheck_at IS NULL FROM absences ORDER BY starts_at"
    assert await query(database_url, stored) == [(5, True), (3, False)]


async def _has_attempts(database_url: str, attempts: int) -> bool:
    return any(found >= attempts for (found,) in await chunks(database_url, "attempts"))
