"""The repair of a hole summarises the open chunks that contain a part of it."""

from datetime import UTC, datetime, timedelta

from admin_api.coverage.repairs import OpenChunk, repair_of

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def a_chunk(start: float, end: float, state: str = "waiting", attempts: int = 0, **more: object) -> OpenChunk:
    return OpenChunk(at(start), at(end), state, attempts, at(100 + attempts), **more)  # type: ignore[arg-type]


def test_a_hole_that_no_chunk_contains_has_no_repair() -> None:
    assert repair_of(at(0), at(10), []) is None
    assert repair_of(at(0), at(10), [a_chunk(-10, 0), a_chunk(10, 20)]) is None


def test_all_chunks_of_a_hole_are_summarised() -> None:
    chunks = [
        a_chunk(-5, 5, attempts=4, reason="no answer", error_class="timeout", loss_at=at(300)),
        a_chunk(5, 8, attempts=1, reason="empty", loss_at=at(200)),
        a_chunk(8, 20, state="failed", attempts=2),
        a_chunk(50, 60, attempts=9),
    ]
    found = repair_of(at(0), at(10), chunks)
    assert found is not None
    assert (found.state, found.chunks, found.attempts, found.next_attempt_at) == ("waiting", 3, 4, at(101))
    assert (found.reason, found.error_class, found.loss_at) == ("no answer", "timeout", at(200))


def test_a_requested_hole_has_no_next_attempt() -> None:
    found = repair_of(at(0), at(10), [a_chunk(0, 10, state="requested")])
    assert found is not None
    assert (found.state, found.next_attempt_at, found.reason) == ("requested", None, None)
