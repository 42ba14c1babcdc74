"""The state of a chunk after its run. A test names times in minutes after noon."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from backfiller.chunks import Chunk, ChunkState, claimed, requested, started
from backfiller.closing import EVIDENCE_PERIODS, LedgerView, Outcome, after_check, after_result, evidence_span
from contracts.ranges import Purpose, range_run_id
from contracts.spans import Interval
from contracts.vocabulary import ErrorClass
from support.backfilling.chunks import CLOSING, LEASE, NOW, WAIT, a_chunk, minutes

SPAN = minutes(0, 100)
RUN = range_run_id(1, 0)
SECOND = timedelta(seconds=1)


def a_requested(**changes: object) -> Chunk:
    in_claim = claimed(a_chunk(SPAN, **changes), "binance", NOW, LEASE, WAIT)
    return requested(in_claim, range_run_id(in_claim.id, in_claim.attempts), NOW, WAIT)


def an_outcome(error: ErrorClass | None = None, *proved: Interval) -> Outcome:
    return Outcome(RUN, error, None if error is None else f"because of {error.value}", proved)


def ledger(
    *verified: Interval,
    final: tuple[Interval, ...] = (),
    note: str | None = None,
    unproved: tuple[Interval, ...] = (),
) -> LedgerView:
    return LedgerView(verified, final, note, unproved, "no_trade: contiguous ids" if final else None)


def closed(chunk: Chunk, outcome: Outcome, view: LedgerView) -> Chunk:
    return after_result(chunk, outcome, view, NOW, CLOSING)


def test_a_chunk_is_verified_when_the_ledger_says_so() -> None:
    chunk = closed(a_requested(), an_outcome(None, SPAN), ledger(SPAN))
    assert (chunk.state, chunk.ended_at, chunk.reason) == (ChunkState.VERIFIED, NOW, None)


def test_a_success_alone_closes_nothing_until_the_candles_are_stored() -> None:
    waiting = closed(a_requested(), an_outcome(None, SPAN), ledger())
    assert (waiting.state, waiting.answered_at, waiting.outstanding) == (ChunkState.REQUESTED, NOW, False)
    later = NOW + timedelta(seconds=5)
    assert after_check(waiting, ledger(minutes(0, 50)), later, CLOSING) == waiting
    assert after_check(waiting, ledger(SPAN), later, CLOSING).state is ChunkState.VERIFIED
    too_late = after_check(waiting, ledger(), NOW + CLOSING.ledger_wait + SECOND, CLOSING)
    assert (too_late.state, too_late.attempts, too_late.answered_at) == (ChunkState.WAITING, 1, None)


def test_a_rest_of_a_final_class_makes_it_classified() -> None:
    chunk = closed(a_requested(), an_outcome(None, SPAN), ledger(minutes(40, 100), final=(minutes(-5, 40),)))
    assert chunk.state is ChunkState.CLASSIFIED
    assert chunk.reason == (
        "No more candles can be collected from 2026-11-22 12:00 to 2026-11-22 12:40 UTC (no_trade: contiguous ids)."
    )


def test_an_answer_that_proves_nothing_comes_again_with_the_reason() -> None:
    chunk = closed(a_requested(), an_outcome(), ledger(note="unproven: the answer was empty"))
    assert (chunk.state, chunk.attempts, chunk.retries) == (ChunkState.WAITING, 1, 1)
    assert chunk.next_attempt_at == NOW + timedelta(seconds=30)
    assert chunk.reason == (
        "The exchange answered, but nothing proves up to 100 candles from 2026-11-22 12:00 UTC on "
        "(unproven: the answer was empty)."
    )


def test_evidence_follows_an_answer_that_proves_nothing_and_a_reading_follows_the_evidence() -> None:
    view = ledger(unproved=(minutes(20, 30),))
    chunk = closed(a_requested(), an_outcome(), view)
    assert (chunk.purpose, chunk.next_attempt_at) == (Purpose.EVIDENCE, NOW + timedelta(seconds=30))
    waiting = closed(a_requested(purpose=Purpose.EVIDENCE), an_outcome(), view)
    assert waiting.answered_at == NOW, "the classes may not be in the ledger yet"
    after = after_check(waiting, view, NOW + CLOSING.ledger_wait + SECOND, CLOSING)
    assert (after.purpose, after.retries) == (Purpose.REPAIR, 1)
    of_backfill = closed(a_requested(purpose=Purpose.EVIDENCE, backfill_id=3), an_outcome(ErrorClass.TIMEOUT), view)
    again = after_check(of_backfill, view, NOW + CLOSING.ledger_wait + SECOND, CLOSING)
    assert again.purpose is Purpose.BACKFILL


@pytest.mark.parametrize("error", [None, ErrorClass.TIMEOUT])
def test_no_evidence_is_requested_after_an_error_or_before_the_next_check(error: ErrorClass | None) -> None:
    for view in (ledger(), ledger(minutes(0, 10), unproved=(minutes(20, 30),))) if error is None else (ledger(),):
        assert closed(a_requested(), an_outcome(error), view).purpose is Purpose.BACKFILL
    if error is not None:
        failed = closed(a_requested(), an_outcome(error), ledger(unproved=(SPAN,)))
        assert failed.purpose is Purpose.BACKFILL


def test_evidence_about_a_part_is_followed_at_once_by_evidence_about_the_next() -> None:
    view = ledger(final=(minutes(0, 40),), unproved=(minutes(40, 100),))
    waiting = closed(a_requested(purpose=Purpose.EVIDENCE), an_outcome(), view)
    chunk = after_check(waiting, view, NOW + CLOSING.ledger_wait + SECOND, CLOSING)
    assert (chunk.span, chunk.purpose, chunk.retries) == (minutes(40, 100), Purpose.EVIDENCE, 0)


def test_a_hole_with_evidence_closes_its_chunk() -> None:
    chunk = closed(a_requested(purpose=Purpose.EVIDENCE), an_outcome(), ledger(final=(SPAN,)))
    assert chunk.state is ChunkState.CLASSIFIED


def test_an_error_that_only_the_evidence_meets_does_not_fail_the_chunk() -> None:
    waiting = closed(a_requested(purpose=Purpose.EVIDENCE), an_outcome(ErrorClass.NOT_SUPPORTED), ledger())
    chunk = after_check(waiting, ledger(), NOW + CLOSING.ledger_wait + SECOND, CLOSING)
    assert (chunk.state, chunk.purpose) == (ChunkState.WAITING, Purpose.REPAIR)


def test_evidence_is_requested_for_the_first_part_that_may_be_checked() -> None:
    wide = a_chunk(minutes(0, 5000))
    assert evidence_span(wide, ledger(unproved=(minutes(100, 110),))) == minutes(100, 110)
    unproved = (minutes(40, 5000),)
    assert evidence_span(wide, ledger(unproved=unproved)) == minutes(40, 40 + EVIDENCE_PERIODS)
    assert evidence_span(wide, ledger(minutes(0, 50), unproved=unproved)) == minutes(50, 50 + EVIDENCE_PERIODS)
    assert evidence_span(wide, ledger()) == minutes(0, EVIDENCE_PERIODS)


def test_progress_leaves_the_rest_and_is_continued_at_once() -> None:
    chunk = closed(
        a_requested(retries=5), an_outcome(ErrorClass.DEADLINE_EXCEEDED, minutes(60, 100)), ledger(minutes(60, 100))
    )
    assert (chunk.span, chunk.retries, chunk.next_attempt_at) == (minutes(0, 60), 0, NOW)


@pytest.mark.parametrize("retries", range(15))
def test_the_pause_doubles_up_to_its_limit(retries: int) -> None:
    chunk = closed(a_requested(retries=retries), an_outcome(ErrorClass.TIMEOUT), ledger())
    assert chunk.next_attempt_at - NOW == min(timedelta(seconds=30 * 2**retries), timedelta(hours=6))
    assert chunk.reason == "because of timeout"


@pytest.mark.parametrize("error", ["bad_symbol", "bad_request", "not_supported", "authentication", "blocked_location"])
def test_a_permanent_error_fails_it_until_the_next_day(error: str) -> None:
    chunk = closed(a_requested(), an_outcome(ErrorClass(error)), ledger())
    assert (chunk.state, chunk.error_class, chunk.reason) == (ChunkState.FAILED, error, f"because of {error}")
    assert chunk.next_attempt_at == NOW + timedelta(days=1)


@pytest.mark.parametrize("error", ["rate_limited", "banned", "maintenance", "already_running", "superseded"])
def test_errors_that_say_nothing_about_the_chunk_do_not_lengthen_its_pauses(error: str) -> None:
    chunk = closed(a_requested(retries=3), an_outcome(ErrorClass(error)), ledger())
    assert (chunk.retries, chunk.next_attempt_at) == (3, NOW + timedelta(seconds=30))


@pytest.mark.parametrize("error", list(ErrorClass))
def test_every_error_class_leaves_a_chunk_that_comes_again_with_a_reason(error: ErrorClass) -> None:
    chunk = closed(a_requested(), an_outcome(error), ledger())
    assert chunk.state in {ChunkState.WAITING, ChunkState.FAILED}
    assert chunk.reason
    assert chunk.error_class == error
    assert chunk.next_attempt_at > NOW


def test_the_pause_of_a_chunk_that_is_lost_soon_is_shorter() -> None:
    retried = a_requested(retries=12, loss_at=NOW + timedelta(hours=2))
    assert closed(retried, an_outcome(ErrorClass.TIMEOUT), ledger()).next_attempt_at == NOW + timedelta(hours=1)
    nearly_lost = a_requested(retries=12, loss_at=NOW + timedelta(seconds=1))
    assert closed(nearly_lost, an_outcome(ErrorClass.TIMEOUT), ledger()).next_attempt_at == NOW + timedelta(seconds=30)


def test_a_failed_run_whose_span_is_verified_closes_the_chunk() -> None:
    assert closed(a_requested(), an_outcome(ErrorClass.TIMEOUT), ledger(SPAN)).state is ChunkState.VERIFIED


def test_reading_again_is_done_only_by_a_success() -> None:
    chunk = a_requested(purpose=Purpose.REREAD)
    assert closed(chunk, an_outcome(ErrorClass.TIMEOUT), ledger(SPAN)).state is ChunkState.WAITING
    assert closed(chunk, an_outcome(None, SPAN), ledger(SPAN)).state is ChunkState.VERIFIED


def test_a_chunk_without_a_result_is_requested_again_after_its_deadline() -> None:
    chunk = a_requested()
    assert after_check(chunk, ledger(), NOW + WAIT, CLOSING) == chunk
    lost = after_check(chunk, ledger(), NOW + WAIT + SECOND, CLOSING)
    assert (lost.state, lost.attempts, lost.error_class) == (ChunkState.WAITING, 1, "collector_lost")
    assert lost.reason == "No result arrived until 2026-11-22 12:15:00 UTC: the collector has probably crashed."
    assert claimed(lost, "binance", NOW, LEASE, WAIT).run_id == range_run_id(1, 1) != RUN


def test_the_start_of_a_run_moves_the_deadline() -> None:
    chunk = started(a_requested(), RUN, NOW + timedelta(minutes=2), timedelta(minutes=1))
    assert chunk.deadline_at == NOW + timedelta(minutes=3)
    assert started(chunk, range_run_id(1, 9), NOW, timedelta()) == chunk


def test_the_start_of_a_run_may_come_before_the_acknowledgement_of_its_request() -> None:
    in_claim = claimed(a_chunk(SPAN), "binance", NOW, LEASE, WAIT)
    chunk = started(in_claim, RUN, NOW + timedelta(minutes=2), timedelta(minutes=1))
    assert (chunk.state, chunk.claimed_until) == (ChunkState.REQUESTED, None)
    assert requested(chunk, RUN, NOW + SECOND, WAIT).deadline_at == NOW + timedelta(minutes=3)


def test_a_chunk_knows_when_it_was_requested_also_if_its_run_ends_before_the_acknowledgement() -> None:
    """A new backfill does not hasten a chunk that was requested after it."""
    in_claim = claimed(a_chunk(SPAN), "binance", NOW, LEASE, WAIT)
    assert closed(in_claim, an_outcome(ErrorClass.TIMEOUT), ledger()).requested_at == NOW


def test_a_result_that_comes_twice_changes_nothing() -> None:
    first = closed(a_requested(), an_outcome(ErrorClass.TIMEOUT), ledger())
    assert closed(first, an_outcome(ErrorClass.TIMEOUT), ledger()) == first


def test_a_late_result_closes_a_chunk_whose_span_is_verified_meanwhile() -> None:
    lost = after_check(a_requested(), ledger(), NOW + WAIT + SECOND, CLOSING)
    assert closed(lost, an_outcome(None, SPAN), ledger()) == lost
    assert closed(lost, an_outcome(None, SPAN), ledger(SPAN)).state is ChunkState.VERIFIED


def test_the_result_of_another_run_changes_nothing() -> None:
    chunk = a_requested()
    assert closed(chunk, an_outcome(None, SPAN)._replace(run_id=UUID(int=1)), ledger(SPAN)) == chunk


def test_a_result_may_be_quicker_than_the_mark_of_its_request() -> None:
    in_claim = claimed(a_chunk(SPAN), "binance", NOW, LEASE, WAIT)
    closed_first = closed(in_claim, an_outcome(None, SPAN), ledger(SPAN))
    assert closed_first.state is ChunkState.VERIFIED
    assert requested(closed_first, RUN, NOW, WAIT) == closed_first
    again = closed(in_claim, an_outcome(ErrorClass.TIMEOUT), ledger())
    assert requested(again, RUN, NOW, WAIT) == again


def test_a_second_publication_after_a_crash_has_the_same_run() -> None:
    first = claimed(a_chunk(SPAN), "binance", NOW, LEASE, WAIT)
    second = claimed(replace(first), "binance", NOW + LEASE, LEASE, WAIT)
    assert second.run_id == first.run_id


def test_pieces_without_room_for_a_candle_do_not_keep_a_chunk_open() -> None:
    assert closed(a_requested(), an_outcome(), ledger(minutes(0.5, 100))).state is ChunkState.VERIFIED
