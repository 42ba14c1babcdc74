import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field, ValidationError

from contracts.configs import CollectionConfig, ConfigChanged
from contracts.event import Event, Instant, event_type
from contracts.export import generated_files, stale_files
from contracts.runs import RunFinished
from contracts.ticks import TickDue, initial_run_id, lane_of, slot_run_id
from contracts.topics import ALL_TOPICS, Cleanup, Topic

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "libs/contracts/examples"
EVENTS: dict[str, type[Event]] = {event_type(event): event for topic in ALL_TOPICS for event in topic.events}
EXAMPLE_FILES = sorted(EXAMPLES.glob("*/*/*.json"))
TOPICS = pytest.mark.parametrize("topic", ALL_TOPICS, ids=lambda topic: topic.name)


def _example(name: str) -> dict[str, object]:
    return json.loads((EXAMPLES / name).read_text())


def test_generated_schemas_and_events_page_are_current() -> None:
    stale = stale_files(REPOSITORY, generated_files())
    assert not stale, f"stale: {stale}; run `make generate`"


def test_the_staleness_check_finds_changed_missing_and_orphaned_files(tmp_path: Path) -> None:
    files = generated_files()
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert stale_files(tmp_path, files) == []
    first, second, *_ = sorted(files)
    (tmp_path / first).write_text("{}")
    (tmp_path / second).unlink()
    orphan = Path("libs/contracts/schemas/Gone.v1.schema.json")
    (tmp_path / orphan).write_text("{}")
    assert stale_files(tmp_path, files) == sorted([first, second, orphan])


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_has_an_example(name: str) -> None:
    assert list((EXAMPLES / name).glob("1/*.json"))


@pytest.mark.parametrize("path", EXAMPLE_FILES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_examples_are_valid_for_the_model_and_for_the_committed_schema(path: Path) -> None:
    event = EVENTS[path.parts[-3]]
    text = path.read_text()
    parsed = event.model_validate_json(text)
    assert event.model_validate_json(parsed.model_dump_json()) == parsed
    schema = json.loads((REPOSITORY / f"libs/contracts/schemas/{event_type(event)}.v1.schema.json").read_text())
    Draft202012Validator(schema).validate(json.loads(parsed.model_dump_json()))


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_and_field_has_a_description(name: str) -> None:
    assert EVENTS[name].__doc__
    for field, info in EVENTS[name].model_fields.items():
        assert field == "type" or info.description, f"{name}.{field} has no description"


@pytest.mark.parametrize("path", EXAMPLE_FILES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_consumer_ignores_fields_that_it_does_not_know(path: Path) -> None:
    document = json.loads(path.read_text()) | {"added_next_year": 1}
    EVENTS[path.parts[-3]].model_validate(document)


def test_a_tick_of_the_previous_release_is_accepted() -> None:
    document = _example("TickDue/1/scheduled.json")
    assert "window_end" in document, "the previous release sends this field"
    without = {name: value for name, value in document.items() if name != "window_end"}
    assert TickDue.model_validate(document) == TickDue.model_validate(without)


class _PreviousTickDue(Event):
    """The field that `TickDue` had in the previous release and no longer has, with its old declaration."""

    window_end: Instant = Field(description="Collect at least to here.")


def test_a_collector_of_the_previous_release_accepts_a_tick_of_this_release() -> None:
    document = {name: value for name, value in _example("TickDue/1/scheduled.json").items() if name != "window_end"}
    tick = TickDue.model_validate(document)
    assert _PreviousTickDue.model_validate_json(tick.model_dump_json()).window_end == tick.scheduled_for


def test_an_instant_without_a_zone_is_refused_and_another_zone_becomes_utc() -> None:
    document = _example("ConfigChanged/1/created.json")
    with pytest.raises(ValidationError, match="timezone"):
        ConfigChanged.model_validate(document | {"occurred_at": "2026-11-22T10:00:00"})
    changed = ConfigChanged.model_validate(document | {"occurred_at": "2026-11-22T12:00:00+02:00"})
    assert changed.occurred_at == datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert changed.occurred_at.tzinfo is UTC


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeframes": []},
        {"timeframes": ["1m", "1m"]},
        {"timeframes": ["one minute"]},
        {"symbol": "BTCUSDT"},
        {"symbol": "BTC|X/USDT"},
        {"exchange": "Binance"},
        {"interval_minutes": 0},
        {"version": 0},
    ],
    ids=str,
)
def test_an_invalid_config_is_refused(wrong: dict[str, object]) -> None:
    config = _example("ConfigChanged/1/created.json")["config"]
    assert isinstance(config, dict)
    CollectionConfig.model_validate(config)
    with pytest.raises(ValidationError):
        CollectionConfig.model_validate(config | wrong)


def test_a_contradictory_outcome_is_refused() -> None:
    success = _example("RunFinished/1/success.json")
    for wrong in (
        {"status": "failed"},
        {"error_class": "internal"},
        {"finished_at": "2026-11-22T10:00:00Z"},
        {"status": "running"},
    ):
        with pytest.raises(ValidationError):
            RunFinished.model_validate(success | wrong)


def test_the_same_slot_has_the_same_run_id_in_every_process_and_time_zone() -> None:
    slot = datetime(2026, 11, 22, 10, 10, tzinfo=UTC)
    assert slot_run_id(7, slot) == slot_run_id(7, slot.astimezone(timezone(timedelta(hours=5))))
    # A literal value, because a change of it would run every slot twice during an upgrade.
    assert slot_run_id(7, slot) == UUID("5e7ed88b-719d-57c7-8373-7b3fd2ae464b")
    ids = {
        slot_run_id(7, slot),
        slot_run_id(8, slot),
        slot_run_id(7, slot + timedelta(minutes=1)),
        initial_run_id(7, 1),
    }
    assert len(ids) == 4


def test_lanes_split_one_exchange_by_config_and_not_the_others() -> None:
    lanes = {"binance": 3}
    assert {lane_of("binance", config_id, lanes) for config_id in range(1, 50)} == {
        "binance#0",
        "binance#1",
        "binance#2",
    }
    assert lane_of("kraken", 5, lanes) == "kraken"
    assert lane_of("binance", 5, lanes) == lane_of("binance", 5, lanes)


@TOPICS
def test_topics_are_well_formed(topic: Topic) -> None:
    assert (topic.retention is None) == (topic.cleanup is Cleanup.COMPACT)
    assert not topic.tombstones or topic.cleanup is Cleanup.COMPACT
    services = {path.name for path in (REPOSITORY / "services").iterdir()}
    assert set(topic.producers) | set(topic.consumers) <= services
    assert topic.producers


def test_topic_and_event_names_are_unique_and_co_partitioned_topics_agree() -> None:
    assert len({topic.name for topic in ALL_TOPICS}) == len(ALL_TOPICS)
    assert len(EVENTS) == sum(len(topic.events) for topic in ALL_TOPICS)
    assert len({topic.partitions for topic in ALL_TOPICS if topic.key == "config id"}) == 1


def test_the_command_reports_stale_files(tmp_path: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "contracts.export", str(tmp_path), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 1
    assert "run `make generate`" in checked.stderr
