"""The promises about chunks that hold after each step of their state machine."""

from collections import Counter
from uuid import UUID

from hypothesis.stateful import RuleBasedStateMachine, invariant

from backfiller.chunks import Chunk, ChunkState
from contracts.ranges import Purpose
from support.backfilling.chunk_truth import Truth, to_minutes

PER_LANE, TOTAL = 3, 4
"""The most chunks that are requested at once: of a lane, and in all."""


class ChunkPromises(RuleBasedStateMachine):
    """The state that the promises are about; the subclass adds the steps."""

    chunks: dict[int, Chunk]
    truth: dict[int, Truth]
    read_runs: set[UUID]

    @invariant()
    def no_minute_has_two_owners(self) -> None:
        owners = Counter(
            (each.series_id, number) for each in self.chunks.values() if each.is_open for number in to_minutes(each)
        )
        assert max(owners.values(), default=1) == 1

    @invariant()
    def the_limits_hold(self) -> None:
        outstanding = Counter(each.lane for each in self.chunks.values() if each.outstanding)
        assert outstanding.total() <= TOTAL
        assert max(outstanding.values(), default=0) <= PER_LANE

    @invariant()
    def a_closed_chunk_is_in_the_ledger(self) -> None:
        for chunk in self.chunks.values():
            truth = self.truth[chunk.series_id]
            if chunk.state is ChunkState.VERIFIED:
                assert to_minutes(chunk) <= truth.stored
            if chunk.state is ChunkState.CLASSIFIED:
                assert to_minutes(chunk) <= truth.stored | truth.stored_lost
                assert to_minutes(chunk) & truth.stored_lost

    @invariant()
    def a_range_that_is_read_again_was_read(self) -> None:
        for chunk in self.chunks.values():
            if chunk.purpose is Purpose.REREAD and chunk.state in (ChunkState.VERIFIED, ChunkState.CLASSIFIED):
                assert chunk.run_id in self.read_runs

    @invariant()
    def a_chunk_that_was_tried_says_why_it_waits(self) -> None:
        for chunk in self.chunks.values():
            if chunk.is_open and chunk.attempts:
                assert chunk.reason
            if chunk.state is ChunkState.FAILED:
                assert chunk.error_class
            if chunk.in_flight:
                assert chunk.deadline_at is not None
            if not chunk.is_open:
                assert chunk.ended_at is not None
                assert not chunk.in_flight

    @invariant()
    def each_run_belongs_to_one_chunk(self) -> None:
        runs = Counter(each.run_id for each in self.chunks.values() if each.run_id is not None)
        assert max(runs.values(), default=1) == 1
