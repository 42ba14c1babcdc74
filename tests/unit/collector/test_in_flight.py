import uuid

import pytest

from collector.run.in_flight import AlreadyFinished, ConfigBusy, MayStart, Queued, RunsInFlight, SameRunInFlight

RUN, OTHER = uuid.uuid4(), uuid.uuid4()


def test_a_config_is_collected_by_one_run_at_a_time() -> None:
    runs = RunsInFlight()
    assert runs.admit(1, RUN) == MayStart()
    with runs.track(1, RUN):
        assert runs.admit(1, OTHER) == ConfigBusy(RUN)
        assert runs.admit(2, OTHER) == MayStart()
        assert len(runs) == 1
    assert runs.admit(1, OTHER) == MayStart()


def test_a_run_that_waits_is_queued_and_may_start_when_the_current_run_has_ended() -> None:
    runs = RunsInFlight()
    with runs.track(1, RUN):
        admission = runs.admit(1, OTHER, waits=True)
        assert isinstance(admission, Queued)
        assert (admission.current_run, admission.ended.is_set()) == (RUN, False)
        assert isinstance(runs.admit(1, RUN, waits=True), SameRunInFlight)
        assert runs.admit(2, OTHER, waits=True) == MayStart()
    assert admission.ended.is_set()
    assert runs.admit(1, OTHER, waits=True) == MayStart()


def test_a_duplicate_tick_waits_for_a_run_in_flight_and_is_dropped_after_a_finished_one() -> None:
    runs = RunsInFlight()
    with runs.track(1, RUN):
        admission = runs.admit(1, RUN)
        assert isinstance(admission, SameRunInFlight)
        assert not admission.ended.is_set()
    assert admission.ended.is_set()
    assert runs.admit(1, RUN) == AlreadyFinished()


def test_runs_without_a_config_of_their_own_start_beside_all_others() -> None:
    runs, another = RunsInFlight(), uuid.uuid4()
    with runs.track(None, RUN):
        assert runs.admit(None, OTHER) == MayStart()
        assert runs.admit(1, OTHER) == MayStart()
        assert isinstance(runs.admit(None, RUN), SameRunInFlight)
        with runs.track(1, OTHER):
            assert runs.admit(None, another) == MayStart()
            assert runs.admit(1, another) == ConfigBusy(OTHER)
    assert runs.admit(None, RUN) == AlreadyFinished()


def test_a_run_that_raised_may_start_again() -> None:
    runs = RunsInFlight()
    admission = None

    def raise_within_the_run() -> None:
        nonlocal admission
        with runs.track(1, RUN):
            admission = runs.admit(1, RUN)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        raise_within_the_run()
    assert isinstance(admission, SameRunInFlight)
    assert admission.ended.is_set()
    assert runs.admit(1, RUN) == MayStart()


def test_only_a_limited_number_of_finished_runs_is_stored() -> None:
    runs = RunsInFlight()
    runs.mark_finished(RUN)
    for _ in range(10_000):
        runs.mark_finished(uuid.uuid4())
    assert runs.admit(1, RUN) == MayStart()
