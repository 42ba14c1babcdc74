"""Types of input values and pure functions, without a server or a database."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from admin_api.auth.authenticator import bearer_token
from admin_api.configs.schemas import ConfigChanges, NewConfig, warnings_about
from admin_api.http.content_negotiation import preferred
from admin_api.http.errors import FieldError
from admin_api.http.input_types import FilterText, QueryInstant, SymbolText
from admin_api.http.problems import field_error
from admin_api.runs.statistics import success_rate
from contracts.vocabulary import Symbol
from support.forked_commands import run_forked

GUIDE = {
    "symbol": "ETH/USDT",
    "exchange": "binance",
    "timeframes": ["1m", "5m", "15m", "1h", "4h", "1d"],
    "interval_minutes": 10,
    "enabled": True,
    "description": "Ethereum data collection",
}


def test_the_example_of_the_guide_is_accepted_unchanged() -> None:
    assert NewConfig.model_validate(GUIDE).model_dump(exclude={"start_date"}) == GUIDE


def test_a_partial_update_contains_only_the_sent_fields() -> None:
    changes = ConfigChanges.model_validate({"interval_minutes": 5, "description": None})
    assert changes.named() == {"interval_minutes": 5, "description": None}


@given(st.text(max_size=30))
def test_every_accepted_symbol_is_valid_in_contracts(text: str) -> None:
    try:
        accepted = TypeAdapter(SymbolText).validate_python(text)
    except ValidationError:
        return
    assert TypeAdapter(Symbol).validate_python(accepted) == text


@given(st.text())
def test_every_accepted_filter_text_can_be_stored(text: str) -> None:
    try:
        accepted = TypeAdapter(FilterText).validate_python(text)
    except ValidationError:
        return
    assert b"\x00" not in accepted.encode()


@given(st.text() | st.datetimes().map(str) | st.floats().map(str) | st.datetimes(timezones=st.timezones()).map(str))
def test_any_text_is_a_utc_instant_or_an_error(text: str) -> None:
    try:
        instant = TypeAdapter(QueryInstant).validate_python(text)
    except ValidationError:
        return
    assert instant.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    ["2025-01-15T10:00:00Z", "2025-01-15T10:00:00", "2025-01-15 10:00", "2025-01-15T12:00:00 02:00"],
)
def test_common_notations_of_an_instant_are_accepted(text: str) -> None:
    assert TypeAdapter(QueryInstant).validate_python(text) == datetime(2025, 1, 15, 10, tzinfo=UTC)


@pytest.mark.parametrize("text", ["1736935200", "1736935200000", "0.5", "-1e9", "1_000"])
def test_a_bare_number_is_not_an_instant(text: str) -> None:
    with pytest.raises(ValidationError, match="write date and time"):
        TypeAdapter(QueryInstant).validate_python(text)


def test_a_json_number_without_fraction_is_an_integer() -> None:
    assert ConfigChanges.model_validate({"interval_minutes": 10.0}).interval_minutes == 10
    with pytest.raises(ValidationError):
        ConfigChanges.model_validate({"interval_minutes": 10.5})


@pytest.mark.parametrize(("interval", "advised"), [(1, True), (4, True), (5, False), (10, False)])
def test_intervals_below_five_minutes_get_a_warning(interval: int, advised: bool) -> None:
    config = NewConfig(exchange="binance", symbol="BTC/USDT", timeframes=["1m"], interval_minutes=interval)
    assert bool(warnings_about(config)) is advised


@pytest.mark.parametrize(
    ("successful", "failed", "rate"), [(0, 0, 0.0), (142, 2, 98.61), (0, 3, 0.0), (7, 0, 100.0), (2, 1, 66.67)]
)
def test_the_success_rate_counts_only_successful_and_failed_runs(successful: int, failed: int, rate: float) -> None:
    assert success_rate(successful, failed) == rate


@pytest.mark.parametrize(
    ("accept", "csv"),
    [
        ("", False),
        ("*/*", False),
        ("text/csv", True),
        ("TEXT/CSV", True),
        ("text/csv, */*;q=0.1", True),
        ("application/json, text/csv", False),
        ("text/csv, application/json", True),
        ("text/csv, */*", True),
        ("*/*, text/csv", False),
        ("text/*", True),
        ("text/*, application/*;q=0.9", True),
        ("text/*;q=0.5, application/json;q=0.4, text/csv;q=0.1", False),
        ("text/csv;q=0.5, application/json", False),
        ("text/csv;q=0.5, */*", False),
        ("text/csv; header=present; Q=0.5, application/json;q=0.4", True),
        ("text/csv;q=0", False),
        ("text/csv;q=high", False),
        ("text/csv;q=nan", False),
        ("text/csv;q=7, application/json;q=0.1", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
    ],
)
def test_the_media_type_with_the_highest_quality_is_chosen(accept: str, csv: bool) -> None:
    assert preferred(accept, ("application/json", "text/csv")) == ("text/csv" if csv else "application/json")


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        (["Bearer abc"], b"abc"),
        (["bearer  abc "], b"abc"),
        ([], None),
        (["Bearer"], None),
        (["Bearer a b"], None),
        (["Basic abc"], None),
        (["Bearer abc", "Bearer abc"], None),
    ],
)
def test_the_bearer_token_is_read_from_one_well_formed_header(headers: list[str], token: bytes | None) -> None:
    assert bearer_token(headers) == token


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        (
            {"type": "missing", "loc": ("body", "symbol"), "msg": "Field required"},
            FieldError("#/symbol", "is required"),
        ),
        (
            {"type": "extra_forbidden", "loc": ("query", "a/b~c"), "msg": "Extra"},
            FieldError("#/a~1b~0c", "there is no such parameter", "query"),
        ),
        (
            {"type": "value_error", "loc": ("body", "timeframes", 2), "msg": "Value error, no"},
            FieldError("#/timeframes/2", "no"),
        ),
    ],
)
def test_errors_point_at_their_field(detail: dict[str, Any], expected: FieldError) -> None:
    assert field_error(detail) == expected


VALID = {
    "CANDLEKEEP_ADMIN_TOKEN": "x" * 24,
    "DATABASE_URL": "postgresql://user@127.0.0.1:1/nothing",
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
}


@pytest.mark.parametrize(
    ("fault", "variable"),
    [
        ({"CANDLEKEEP_ADMIN_TOKEN": None}, "CANDLEKEEP_ADMIN_TOKEN"),
        ({"CANDLEKEEP_ADMIN_TOKEN": ""}, "CANDLEKEEP_ADMIN_TOKEN"),
        ({"CANDLEKEEP_ADMIN_TOKEN": "x" * 23}, "CANDLEKEEP_ADMIN_TOKEN"),
        ({"CANDLEKEEP_ADMIN_TOKEN": "x" * 12 + " " + "x" * 12}, "CANDLEKEEP_ADMIN_TOKEN"),
        ({"DATABASE_URL": None}, "DATABASE_URL"),
        ({"HTTP_PORT": "many"}, "HTTP_PORT"),
        ({"EXCHANGE_LANES": '{"binance": 0}'}, "EXCHANGE_LANES"),
        ({"RUN_DEADLINE_SECONDS": "0"}, "RUN_DEADLINE_SECONDS"),
    ],
)
async def test_an_invalid_setting_ends_the_process_with_one_line_and_code_2(
    fault: dict[str, str | None], variable: str
) -> None:
    environment = {name: value for name, value in (VALID | fault).items() if value is not None}
    ended = await run_forked("admin_api", (), environment)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert ended.err.startswith(variable)
    assert "xxxx" not in ended.err


@pytest.mark.parametrize("text", ["2024-01-15T00:00:00Z", "15.01.2024", "yesterday", "2024-02-30", ""])
def test_a_start_date_in_another_form_is_refused_with_the_form_that_is_expected(text: str) -> None:
    with pytest.raises(ValidationError, match="YYYY-MM-DD"):
        NewConfig.model_validate(GUIDE | {"start_date": text})
