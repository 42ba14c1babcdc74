import importlib.util
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from contracts.candles import CandlesCollected
from contracts.configs import CollectionConfig, ConfigChanged
from contracts.coverage import SeriesProgress, Span
from contracts.event import Event, event_type
from contracts.runs import RunFinished
from contracts.schedule import JobScheduled
from contracts.ticks import TickDue, initial_run_id, lane_of, resync_run_id, slot_run_id
from contracts.topics import ALL_TOPICS, Cleanup, Topic

REPOSITORY = Path(__file__).parents[2]
GENERATOR = REPOSITORY / "libs/contracts/generate.py"
EXAMPLES = REPOSITORY / "libs/contracts/examples"
EVENTS: dict[str, type[Event]] = {event_type(event): event for topic in ALL_TOPICS for event in topic.events}
EXAMPLE_FILES = sorted(EXAMPLES.glob("*/*/*.json"))
EXPECTED_ANCHORS = {"1m": "09:59", "5m": "09:55", "1h": "09:00"}
TOPICS = pytest.mark.parametrize("topic", ALL_TOPICS, ids=lambda topic: topic.name)


E = TypeVar("E", bound=Event)


def _example(name: str) -> dict[str, object]:
    return json.loads((EXAMPLES / name).read_text())


def _of_version_1(kind: type[E], document: dict[str, Any]) -> E:
    """Read a document as consumers do: it is valid, and then it gets the form of the current version."""
    kind.model_validate(document)
    return kind.model_validate(kind.upgraded(document))


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The script that generates the schemas and the events page."""
    spec = importlib.util.spec_from_file_location("generate", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_schemas_and_events_page_are_current(generator: ModuleType) -> None:
    stale = generator.stale_files(REPOSITORY, generator.generated_files())
    assert not stale, f"stale: {stale}; run `make generate`"


def test_the_check_finds_a_changed_a_missing_and_an_obsolete_file(generator: ModuleType, tmp_path: Path) -> None:
    files = generator.generated_files()
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert generator.stale_files(tmp_path, files) == []
    first, second, *_ = sorted(files)
    (tmp_path / first).write_text("{}")
    (tmp_path / second).unlink()
    obsolete = Path("libs/contracts/schemas/Gone.v1.schema.json")
    (tmp_path / obsolete).write_text("{}")
    assert generator.stale_files(tmp_path, files) == sorted([first, second, obsolete])


def test_all_rows_of_a_table_of_the_events_page_have_the_same_columns(generator: ModuleType) -> None:
    tables = re.findall(r"(?:^\|.*\n)+", generator.events_page(ALL_TOPICS), re.MULTILINE)
    assert len(tables) >= len(ALL_TOPICS)
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_has_an_example_of_each_version(name: str) -> None:
    for version in range(1, EVENTS[name].model_fields["schema_version"].default + 1):
        assert list((EXAMPLES / name).glob(f"{version}/*.json")), f"no example of version {version}"


@pytest.mark.parametrize("path", EXAMPLE_FILES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_examples_are_valid_for_the_model_and_for_the_committed_schema(path: Path) -> None:
    event = EVENTS[path.parts[-3]]
    text = path.read_text()
    parsed = event.model_validate_json(text)
    assert event.model_validate_json(parsed.model_dump_json()) == parsed
    version = event.model_fields["schema_version"].default
    schema = json.loads((REPOSITORY / f"libs/contracts/schemas/{event_type(event)}.v{version}.schema.json").read_text())
    Draft202012Validator(schema).validate(json.loads(parsed.model_dump_json()))


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_and_every_field_has_a_description(name: str) -> None:
    assert EVENTS[name].__doc__
    for field, info in EVENTS[name].model_fields.items():
        assert field == "type" or info.description, f"{name}.{field} has no description"


@pytest.mark.parametrize("path", EXAMPLE_FILES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_consumer_ignores_unknown_fields(path: Path) -> None:
    document = json.loads(path.read_text()) | {"added_next_year": 1}
    EVENTS[path.parts[-3]].model_validate(document)


def test_a_tick_of_version_1_continues_one_candle_before_its_window() -> None:
    tick = _of_version_1(TickDue, _example("TickDue/1/scheduled.json"))
    assert {each.timeframe: f"{each.anchor:%H:%M}" for each in tick.progress} == EXPECTED_ANCHORS
    assert TickDue.model_validate_json(tick.model_dump_json()) == tick


def test_a_tick_of_version_1_without_a_window_knows_no_candle() -> None:
    tick = _of_version_1(TickDue, _example("TickDue/1/manual-first-run.json"))
    assert tick.progress == ()
    assert tick.progress_of("1d") == SeriesProgress(timeframe="1d")


def test_a_schedule_of_version_1_continues_before_its_covered_time() -> None:
    state = _of_version_1(JobScheduled, _example("JobScheduled/1/active.json"))
    covered = datetime.fromisoformat(str(_example("JobScheduled/1/active.json")["covered_until"]))
    assert {each.timeframe for each in state.progress} == set(state.timeframes)
    assert all(each.anchor is not None and each.anchor < covered for each in state.progress)


def test_a_result_of_version_1_has_its_note_and_its_last_candle_as_anchor() -> None:
    document = _example("RunFinished/1/success.json")
    results = cast("list[dict[str, Any]]", document["results"])
    run = _of_version_1(RunFinished, document | {"results": [results[0] | {"note": "a remark"}, *results[1:]]})
    assert run.results[0].notes == ("a remark",)
    assert [each.anchor for each in run.results] == [each.last_open for each in run.results]


def test_an_event_without_candles_spans_and_rows_is_refused() -> None:
    nothing = {"rows": [], "verified": [], "absences": [], "rejected": []}
    with pytest.raises(ValidationError, match="neither candles nor spans"):
        CandlesCollected.model_validate(_example("CandlesCollected/2/one-minute.json") | nothing)


def test_a_span_that_ends_where_it_starts_is_refused() -> None:
    instant = datetime(2026, 11, 22, tzinfo=UTC)
    with pytest.raises(ValidationError, match="start must be before end"):
        Span(start=instant, end=instant)


def test_a_time_without_a_zone_is_refused_and_other_zones_become_utc() -> None:
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


def test_a_contradictory_result_of_a_run_is_refused() -> None:
    success = _example("RunFinished/1/success.json")
    for wrong in (
        {"status": "failed"},
        {"error_class": "internal"},
        {"finished_at": "2026-11-22T10:00:00Z"},
        {"status": "running"},
    ):
        with pytest.raises(ValidationError):
            RunFinished.model_validate(success | wrong)


def test_a_slot_has_the_same_run_id_in_every_process_and_zone() -> None:
    slot = datetime(2026, 11, 22, 10, 10, tzinfo=UTC)
    assert slot_run_id(7, slot) == slot_run_id(7, slot.astimezone(timezone(timedelta(hours=5))))
    # A literal: if this value changed, an upgrade would run the slots of that time twice.
    assert slot_run_id(7, slot) == UUID("5e7ed88b-719d-57c7-8373-7b3fd2ae464b")
    ids = {
        slot_run_id(7, slot),
        slot_run_id(8, slot),
        slot_run_id(7, slot + timedelta(minutes=1)),
        initial_run_id(7, 1),
        resync_run_id(7, 1, slot),
        resync_run_id(7, 1, slot + timedelta(minutes=1)),
    }
    assert len(ids) == 6


def test_an_exchange_with_several_lanes_is_split_by_config_id() -> None:
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


def test_names_are_unique_and_co_partitioned_topics_have_equal_partitions() -> None:
    assert len({topic.name for topic in ALL_TOPICS}) == len(ALL_TOPICS)
    assert len(EVENTS) == sum(len(topic.events) for topic in ALL_TOPICS)
    assert len({topic.partitions for topic in ALL_TOPICS if topic.key == "config id"}) == 1


def test_the_script_reports_stale_files(tmp_path: Path) -> None:
    checked = subprocess.run(
        [sys.executable, str(GENERATOR), str(tmp_path), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 1
    assert "run `make generate`" in checked.stderr
