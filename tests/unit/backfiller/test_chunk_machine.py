"""Chunks as a state machine: two backfillers, collectors that fail in every way, lost, late and repeated results, a
ledger that lags, and backfills of the same time that people pause and cancel. The model counts minutes one by one and
shares no code with the planner.
"""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from backfiller.chunks import Chunk, ChunkState, claimed, requested, started
from backfiller.closing import LedgerView, Outcome, after_check, after_result, evidence_span
from backfiller.limits import DueChunk, choose, free_places
from backfiller.planning import Demand, PlanPolicy, plan, unwanted
from contracts.ranges import Purpose
from contracts.spans import Intervals, intersect, subtract
from contracts.vocabulary import ErrorClass
from support.backfilling.chunk_promises import PER_LANE, TOTAL, ChunkPromises
from support.backfilling.chunk_truth import Result, Run, Truth, minutes_in, minutes_of, to_minutes, to_spans
from support.backfilling.chunks import CLOSING, LEASE, MINUTE, NOON, NOW, WAIT, a_chunk, a_demand, a_series, minutes
from support.depth import tries

LENGTH = 60
"""Minutes of the target."""
POLICY = PlanPolicy(pages=2, fresh_chunks=5, open_chunks=3)
SERIES = (1, 2)
"""Two series of two configs, each in a lane of its own."""
LANES = {"binance": 2}
ERRORS = st.sampled_from([*ErrorClass])


class Chunks(ChunkPromises):
    """The rules are the steps of the service; each one is a transaction or a message."""

    @initialize(
        provable=st.sets(st.integers(0, LENGTH - 1)) | st.just(set(range(LENGTH))),
        lost=st.sets(st.integers(0, 15)),
        silent=st.sets(st.integers(0, LENGTH - 1)),
        stored=st.booleans(),
    )
    def begin(self, provable: set[int], lost: set[int], silent: set[int], stored: bool) -> None:
        """`stored`: the ledger has everything already, as for a range that is read again."""
        self.now = NOW
        self.truth = {number: Truth(set(provable) - lost, set(lost), silent - provable - lost) for number in SERIES}
        for truth in self.truth.values():
            truth.stored |= truth.provable if stored else set()
        self.chunks: dict[int, Chunk] = {}
        self.read_runs: set[UUID] = set()
        """The runs that have read their whole span at least once."""
        self.publishing: dict[str, list[Chunk]] = {"one": [], "two": []}
        self.requests: list[Run] = []
        self.results: list[Result] = []
        self.ledger_waits: list[tuple[int, frozenset[int], frozenset[int], frozenset[int]]] = []

    # -- planning ----------------------------------------------------------------------------------------------------

    @rule(number=st.sampled_from(SERIES))
    def plan_series(self, number: int) -> None:
        truth, open_chunks = self.truth[number], self.open_of(number)
        wanted = [self.demand(number)] if truth.enabled else []
        wanted += [self.demand_of_backfill(number)] if truth.backfill_state != "cancelled" else []
        for chunk, reason in unwanted(wanted, open_chunks):
            self.chunks[chunk.id] = replace(chunk, state=ChunkState.CANCELLED, reason=reason, ended_at=self.now)
        for new in plan(a_series(page=12)._replace(id=number), wanted, open_chunks, NOON + LENGTH * MINUTE, POLICY):
            names = {"id": len(self.chunks) + 1, "series_id": number, "config_id": new.config_id}
            chunk = a_chunk(new.span, **names, backfill_id=new.backfill_id, purpose=new.purpose)
            self.chunks[chunk.id] = replace(chunk, next_attempt_at=self.now)

    @rule(number=st.sampled_from(SERIES), enabled=st.booleans(), wanted_from=st.integers(0, LENGTH // 2))
    def change_the_config(self, number: int, enabled: bool, wanted_from: int) -> None:
        self.truth[number].enabled, self.truth[number].wanted_from = enabled, wanted_from

    @rule(
        number=st.sampled_from(SERIES),
        span=st.tuples(st.integers(0, LENGTH - 1), st.integers(1, LENGTH)).filter(lambda span: span[0] < span[1]),
        reread=st.booleans(),
    )
    def order_a_backfill(self, number: int, span: tuple[int, int], reread: bool) -> None:
        """It replaces the one before, which is cancelled."""
        truth = self.truth[number]
        truth.backfill, truth.backfill_id, truth.reread = span, truth.backfill_id + 10 + number, reread
        truth.backfill_state = "active"

    @rule(number=st.sampled_from(SERIES), state=st.sampled_from(["active", "paused", "cancelled"]))
    def change_the_backfill(self, number: int, state: str) -> None:
        if self.truth[number].backfill_state != "cancelled":
            self.truth[number].backfill_state = state

    def demand_of_backfill(self, number: int) -> Demand:
        truth = self.truth[number]
        target = minutes(*truth.backfill)
        known: list[Intervals] = [to_spans(truth.stored), to_spans(truth.stored_lost)]
        if truth.reread:
            known = [(each.span,) for each in self.ended_of_backfill(number)]
        missing = subtract([target], [*(span for each in known for span in each), *self.open_spans(number)])
        state = {"backfill_id": truth.backfill_id, "active": truth.backfill_state == "active", "reread": truth.reread}
        return a_demand(target, missing, None, config_id=number, **state)

    def ended_of_backfill(self, number: int) -> list[Chunk]:
        ended = ChunkState.VERIFIED, ChunkState.CLASSIFIED
        backfill_id = self.truth[number].backfill_id
        return [each for each in self.chunks.values() if each.backfill_id == backfill_id and each.state in ended]

    def open_spans(self, number: int) -> Intervals:
        return tuple(each.span for each in self.open_of(number))

    def rests(self, chunk: Chunk) -> bool:
        """Whether its backfill is paused or cancelled. Such a chunk is not requested."""
        truth = self.truth[chunk.series_id]
        return chunk.backfill_id is not None and (chunk.backfill_id, "active") != (
            truth.backfill_id,
            truth.backfill_state,
        )

    def demand(self, number: int) -> Demand:
        truth = self.truth[number]
        target = minutes(truth.wanted_from, LENGTH)
        known = [*to_spans(truth.stored), *to_spans(truth.stored_lost), *(each.span for each in self.open_of(number))]
        return a_demand(target, subtract([target], known), None, config_id=number)

    def open_of(self, number: int) -> list[Chunk]:
        return [each for each in self.chunks.values() if each.series_id == number and each.is_open]

    # -- requesting --------------------------------------------------------------------------------------------------

    @rule(instance=st.sampled_from(["one", "two"]), paused=st.sets(st.sampled_from(["binance#0", "binance#1"])))
    def claim(self, instance: str, paused: set[str]) -> None:
        outstanding = Counter(each.lane or "" for each in self.chunks.values() if each.outstanding)
        claimed_before = (
            each for each in self.chunks.values() if each.claimed_until and each.claimed_until <= self.now
        )
        expired = [each for each in claimed_before if not self.rests(each)]
        places = free_places({"binance"}, outstanding, paused, LANES, PER_LANE)
        new = [each for each in self.due_chunks() if each.retries == 0]
        retried = sorted((each for each in self.due_chunks() if each.retries), key=lambda each: each.next_attempt_at)
        due = [DueChunk(each.id, f"binance#{each.config_id % 2}", each.retries > 0) for each in [*new, *retried]]
        chosen = [self.chunks[number] for number in choose(due, places, TOTAL - outstanding.total())]
        for chunk in [*(each for each in expired if each.lane not in paused), *chosen]:
            lane = f"binance#{chunk.config_id % 2}"
            self.chunks[chunk.id] = claimed(chunk, lane, self.now, LEASE, WAIT)
            self.publishing[instance].append(self.chunks[chunk.id])

    def due_chunks(self) -> list[Chunk]:
        open_chunks = (each for each in self.chunks.values() if each.is_open and not each.in_flight)
        waiting = [each for each in open_chunks if not self.rests(each)]
        return sorted((each for each in waiting if each.next_attempt_at <= self.now), key=lambda each: -each.span[0])

    @rule(instance=st.sampled_from(["one", "two"]))
    def publish(self, instance: str) -> None:
        """Kafka acknowledges; the mark follows in another step, or never."""
        for chunk in self.publishing[instance]:
            assert chunk.run_id is not None
            self.requests.append(self.request_of(chunk))

    def request_of(self, chunk: Chunk) -> Run:
        assert chunk.run_id is not None
        for_evidence = chunk.purpose is Purpose.EVIDENCE
        asked = minutes_in(evidence_span(chunk, self.view(chunk))) if for_evidence else to_minutes(chunk)
        assert asked <= to_minutes(chunk), "a request never leaves its chunk"
        return Run(chunk.run_id, chunk.series_id, asked, for_evidence)

    @rule(instance=st.sampled_from(["one", "two"]))
    def publish_and_mark(self, instance: str) -> None:
        self.publish(instance)
        for chunk in self.publishing[instance]:
            assert chunk.run_id is not None
            self.chunks[chunk.id] = requested(self.chunks[chunk.id], chunk.run_id, self.now, WAIT)
        self.publishing[instance] = []

    @rule(instance=st.sampled_from(["one", "two"]))
    def crash(self, instance: str) -> None:
        self.publishing[instance] = []

    # -- runs --------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), error=st.none() | ERRORS)
    def run(self, data: st.DataObject, error: ErrorClass | None) -> None:
        """A collector runs a request, also one that has run before. It may stop in the middle."""
        request = data.draw(st.sampled_from(self.requests))
        truth = self.truth[request.series_id]
        upto = data.draw(st.integers(0, LENGTH)) if error is not None else 0
        read = {number for number in request.minutes if number >= upto}
        if request.for_evidence:
            self.ledger_waits.append((request.series_id, frozenset(), frozenset(read & truth.silent), frozenset()))
            self.results.append(Result(request.run_id, error, ()))
            return
        proved = frozenset(read & truth.provable), frozenset(read & truth.lost)
        self.ledger_waits.append((request.series_id, *proved, frozenset(read - proved[0] - proved[1])))
        self.read_runs |= {request.run_id} if error is None else set()
        self.results.append(Result(request.run_id, error, to_spans(proved[0] | proved[1])))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def lose_a_request(self, data: st.DataObject) -> None:
        self.requests.remove(data.draw(st.sampled_from(self.requests)))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        run_id = data.draw(st.sampled_from(self.requests)).run_id
        self.change(run_id, lambda chunk: started(chunk, run_id, self.now + LEASE, LEASE))
        waits = [each for each in self.chunks.values() if each.run_id == run_id and each.outstanding]
        assert all(each.deadline_at == self.now + 2 * LEASE for each in waits)  # also before the acknowledgement

    @precondition(lambda self: self.ledger_waits)
    @rule(data=st.data())
    def store(self, data: st.DataObject) -> None:
        number, proved, lost, unknown = self.ledger_waits.pop(data.draw(st.integers(0, len(self.ledger_waits) - 1)))
        self.truth[number].stored |= proved
        self.truth[number].stored_lost |= lost
        self.truth[number].unknown |= unknown

    @precondition(lambda self: self.results)
    @rule(data=st.data(), again=st.booleans())
    def deliver(self, data: st.DataObject, again: bool) -> None:
        result = data.draw(st.sampled_from(self.results))
        if not again:
            self.results.remove(result)
        outcome = Outcome(result.run_id, result.error, result.error and f"because of {result.error}", result.proved)
        self.change(result.run_id, lambda chunk: after_result(chunk, outcome, self.view(chunk), self.now, CLOSING))

    @precondition(lambda self: self.results)
    @rule(data=st.data())
    def lose_a_result(self, data: st.DataObject) -> None:
        self.results.remove(data.draw(st.sampled_from(self.results)))

    # -- time --------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 25, 70, 1000, 30_000, 90_000]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def check(self) -> None:
        for chunk in list(self.chunks.values()):
            self.chunks[chunk.id] = after_check(chunk, self.view(chunk), self.now, CLOSING)

    def change(self, run_id: UUID, decide: object) -> None:
        for chunk in list(self.chunks.values()):
            if chunk.run_id == run_id:
                self.chunks[chunk.id] = decide(chunk)  # type: ignore[operator]

    def view(self, chunk: Chunk) -> LedgerView:
        truth = self.truth[chunk.series_id]
        return LedgerView(
            intersect([chunk.span], to_spans(truth.stored)),
            intersect([chunk.span], to_spans(truth.stored_lost)),
            unproved=intersect([chunk.span], to_spans(truth.unknown - truth.stored - truth.stored_lost)),
        )

    def teardown(self) -> None:
        """When everything works again, all that can be proved is proved, and the rest waits with a reason."""
        if not hasattr(self, "truth"):
            return
        for truth in self.truth.values():
            truth.enabled = True
        for _ in range(100):
            self.one_good_turn()
            if self.finished():
                return
        raise AssertionError(f"not finished: {self.chunks}")

    def one_good_turn(self) -> None:
        self.now += timedelta(days=1, minutes=1)
        self.check()
        for number in SERIES:
            self.plan_series(number)
        self.claim("one", set())
        self.publish_and_mark("one")
        for request in self.requests:
            truth = self.truth[request.series_id]
            self.read_runs.add(request.run_id)
            if request.for_evidence:
                truth.stored_lost |= request.minutes & truth.silent
                truth.unknown -= request.minutes  # the answer says when to check it again
            else:
                truth.stored |= request.minutes & truth.provable
                truth.stored_lost |= request.minutes & truth.lost
                truth.unknown |= request.minutes & truth.silent
            outcome = Outcome(request.run_id, None, None, to_spans(request.minutes & (truth.stored | truth.lost)))
            for chunk in list(self.chunks.values()):
                if chunk.run_id == request.run_id:
                    self.chunks[chunk.id] = after_result(chunk, outcome, self.view(chunk), self.now, CLOSING)
        self.requests.clear()

    def finished(self) -> bool:
        """Every wanted minute is stored, lost, proved to be silent, or in a chunk that waits although the exchange has
        answered.
        """
        for number, truth in self.truth.items():
            wanted = set(range(truth.wanted_from, LENGTH))
            if truth.backfill_state == "active":
                wanted |= set(range(*truth.backfill))
            waiting = {
                minute
                for chunk in self.open_of(number)
                if chunk.reason and "nothing proves" in chunk.reason
                for minute in to_minutes(chunk)
            }
            if wanted & (truth.provable | truth.lost | truth.silent) - truth.stored - truth.stored_lost:
                return False
            if wanted - truth.stored - truth.stored_lost - waiting:
                return False
            again = set(range(*truth.backfill)) if truth.reread and truth.backfill_state == "active" else set()
            if again - waiting - minutes_of(self.ended_of_backfill(number)):
                return False
        return True


TestChunks = pytest.mark.deep(Chunks.TestCase)
TestChunks.settings = settings(max_examples=tries(150, deep=3_000), stateful_step_count=50, deadline=None)
