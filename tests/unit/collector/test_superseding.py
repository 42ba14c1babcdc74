"""Which waiting tick is superseded, and how its run ends."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from faststream.kafka import KafkaBroker
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from typing_extensions import override

from collector.handlers import RunHandler, work_class_of
from collector.metrics import CollectorMetrics
from collector.run.outcomes import Outcomes
from collector.run.superseding import is_newer_tick, merged_tick, superseding_key
from contracts.event import Event
from contracts.runs import RunFinished
from contracts.ticks import TickDue
from contracts.topics import RUN_EVENTS, Topic
from contracts.vocabulary import ErrorClass, RunStatus, Trigger
from runtime.consumers.work_class import WorkClass
from runtime.kafka.publisher import EventPublisher
from runtime.settings import KafkaSettings
from support.collecting import a_range, a_tick

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
anchors = st.none() | st.integers(-10, 10).map(lambda minutes: NOON + timedelta(minutes=minutes))


def waiting(config_id: int = 1, **changes: Any) -> TickDue:
    return a_tick(config_id, **{"trigger": Trigger.SCHEDULED, "collected_until": NOON, **changes})


@pytest.mark.parametrize(
    "changes",
    [{"config_id": 2}, {"symbol": "ETH/USDT"}, {"timeframes": ("1m",)}],
    ids=["of another config", "of another symbol", "without one of the timeframes"],
)
def test_a_tick_that_collects_something_else_is_not_superseded(changes: dict[str, Any]) -> None:
    assert superseding_key(waiting(**{"timeframes": ("1m", "1h"), **changes})) != superseding_key(
        waiting(timeframes=("1m", "1h"))
    )


def test_initial_and_scheduled_ticks_of_any_version_supersede_each_other_and_manual_ones_never_do() -> None:
    scheduled = waiting(timeframes=("1m", "1h"))
    newer = scheduled.config.model_copy(update={"version": 7, "interval_minutes": 1, "timeframes": ("1h", "1m")})
    initial = scheduled.model_copy(update={"trigger": Trigger.INITIAL, "config": newer})
    assert superseding_key(initial) == superseding_key(scheduled) is not None
    assert superseding_key(waiting(trigger=Trigger.MANUAL)) is None
    assert superseding_key(a_range(NOON, NOON + timedelta(hours=1))) is None


def test_the_later_slot_is_newer_and_a_duplicate_is_not() -> None:
    tick, later = waiting(scheduled_for=NOON), waiting(scheduled_for=NOON + timedelta(minutes=1))
    assert is_newer_tick(later, tick)
    assert not is_newer_tick(tick, later)
    assert not is_newer_tick(tick, tick)


@given(anchors, anchors)
def test_the_remaining_tick_continues_as_the_newer_one_says_unless_it_knows_nothing(
    newer_until: datetime | None, older_until: datetime | None
) -> None:
    older, newer = waiting(collected_until=older_until), waiting(collected_until=newer_until)
    assert superseding_key(older) == superseding_key(newer)
    merged = merged_tick(newer, older)
    assert isinstance(merged, TickDue)
    assert merged.model_copy(update={"progress": newer.progress}) == newer
    assert merged.progress == (older if newer_until is None else newer).progress


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (Trigger.SCHEDULED, WorkClass.SCHEDULED),
        (Trigger.MANUAL, WorkClass.REQUESTED),
        (Trigger.INITIAL, WorkClass.BACKGROUND),
        (Trigger.RANGE, WorkClass.BACKGROUND),
    ],
)
def test_the_class_of_a_run_follows_from_its_trigger(trigger: Trigger, expected: WorkClass) -> None:
    due = a_range(NOON, NOON + timedelta(hours=1)) if trigger is Trigger.RANGE else waiting(trigger=trigger)
    assert work_class_of(due) is expected


class RecordingPublisher(EventPublisher):
    def __init__(self) -> None:
        super().__init__(KafkaBroker("nowhere:1"), KafkaSettings(kafka_bootstrap_servers="nowhere:1"), "test")
        self.ends: list[RunFinished] = []

    @override
    async def publish(self, topic: Topic, event: Event) -> None:
        assert topic is RUN_EVENTS
        assert isinstance(event, RunFinished)
        self.ends.append(event)


class Handling:
    """A handler whose runs are only reported."""

    def __init__(self) -> None:
        self.publisher, self.registry = RecordingPublisher(), CollectorRegistry()
        metrics = CollectorMetrics(self.registry)
        outcomes = Outcomes(self.publisher, metrics, "this")
        self.handler = RunHandler(collector=None, outcomes=outcomes, metrics=metrics)  # type: ignore[arg-type]

    @property
    def duplicates(self) -> float:
        return self.registry.get_sample_value("candlekeep_duplicate_ticks_total") or 0


async def test_the_run_of_a_superseded_tick_ends_as_skipped_and_names_the_newer_run() -> None:
    handling, tick, newer = Handling(), waiting(), waiting()
    await handling.handler.on_superseded(tick, newer)
    [end] = handling.publisher.ends
    assert (end.run_id, end.status, end.error_class) == (tick.run_id, RunStatus.SKIPPED, ErrorClass.SUPERSEDED)
    assert str(newer.run_id) in (end.error_message or "")
    await handling.handler.on_superseded(tick, newer)
    assert (len(handling.publisher.ends), handling.duplicates) == (1, 1)


@pytest.mark.parametrize("known", ["same run", "in flight", "finished"])
async def test_a_superseded_duplicate_of_a_run_gets_no_end(known: str) -> None:
    handling, run_id = Handling(), uuid4()
    tick, newer = waiting(run_id=run_id), waiting(run_id=run_id if known == "same run" else UUID(int=1))
    runs = handling.handler.runs_in_flight
    if known == "finished":
        runs.mark_finished(run_id)
    with runs.track(1, run_id if known == "in flight" else uuid4()):
        await handling.handler.on_superseded(tick, newer)
    assert (handling.publisher.ends, handling.duplicates) == ([], 1)
