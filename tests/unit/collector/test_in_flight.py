import uuid

import pytest

from collector.run.in_flight import AlreadyFinished, ConfigBusy, MayStart, Queued, RunsInFlight, SameRunInFlight

RUN, OTHER = uuid.uuid4(), uuid.uuid4()


def test_a_config_is_collected_by_one_run_at_a_time() -> None:
    running = RunsInFlight()
    assert running.admit(1, RUN) == MayStart()
    with running.holding(1, RUN):
        assert running.admit(1, OTHER) == ConfigBusy(RUN)
        assert running.admit(2, OTHER) == MayStart()
        assert len(running) == 1
    assert running.admit(1, OTHER) == MayStart()


def test_a_run_that_waits_is_queued_behind_the_one_that_is_going_on_and_then_free() -> None:
    running = RunsInFlight()
    with running.holding(1, RUN):
        admission = running.admit(1, OTHER, waits=True)
        assert isinstance(admission, Queued)
        assert (admission.behind, admission.ended.is_set()) == (RUN, False)
        assert isinstance(running.admit(1, RUN, waits=True), SameRunInFlight)
        assert running.admit(2, OTHER, waits=True) == MayStart()
    assert admission.ended.is_set()
    assert running.admit(1, OTHER, waits=True) == MayStart()


def test_a_copy_of_a_running_tick_waits_and_of_a_finished_one_is_dropped() -> None:
    running = RunsInFlight()
    with running.holding(1, RUN):
        admission = running.admit(1, RUN)
        assert isinstance(admission, SameRunInFlight)
        assert not admission.ended.is_set()
    assert admission.ended.is_set()
    assert running.admit(1, RUN) == AlreadyFinished()


def test_a_run_that_broke_off_may_be_run_again() -> None:
    running = RunsInFlight()
    admission = None

    def break_off() -> None:
        nonlocal admission
        with running.holding(1, RUN):
            admission = running.admit(1, RUN)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert isinstance(admission, SameRunInFlight)
    assert admission.ended.is_set()
    assert running.admit(1, RUN) == MayStart()


def test_it_does_not_remember_for_ever() -> None:
    running = RunsInFlight()
    running.remember(RUN)
    for _ in range(10_000):
        running.remember(uuid.uuid4())
    assert running.admit(1, RUN) == MayStart()
