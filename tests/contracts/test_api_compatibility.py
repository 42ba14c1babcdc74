"""Version 1 of the API is stable: a client that was written for it keeps working."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.openapi_changes import breaking_changes

API = Path(__file__).parents[2] / "services/admin-api"
PREFIX = "/api/v1/admin/data-collection"
CONFIGS = f"{PREFIX}/configs"

Document = dict[str, Any]


def described(name: str) -> Document:
    document: Document = json.loads((API / name).read_text(encoding="utf-8"))
    return document


@pytest.fixture
def changed() -> Document:
    return copy.deepcopy(described("openapi.json"))


def test_version_1_of_the_api_has_no_breaking_change() -> None:
    broken = breaking_changes(described("openapi.v1.json"), described("openapi.json"))
    assert broken == [], "clients of version 1 would break; see CONTRIBUTING.md"


def remove_path(document: Document) -> None:
    del document["paths"][CONFIGS]


def remove_method(document: Document) -> None:
    del document["paths"][CONFIGS]["post"]


def rename_operation(document: Document) -> None:
    document["paths"][CONFIGS]["get"]["operationId"] = "configs"


def remove_parameter(document: Document) -> None:
    parameters = document["paths"][CONFIGS]["get"]["parameters"]
    parameters[:] = [each for each in parameters if each["name"] != "skip"]


def require_parameter(document: Document) -> None:
    parameter = {"in": "query", "name": "tenant", "required": True, "schema": {"type": "string"}}
    document["paths"][CONFIGS]["get"]["parameters"].append(parameter)


def lower_maximum(document: Document) -> None:
    for parameter in document["paths"][f"{PREFIX}/execution-logs"]["get"]["parameters"]:
        if parameter["name"] == "limit":
            parameter["schema"]["maximum"] = 10


def require_field(document: Document) -> None:
    document["components"]["schemas"]["NewConfig"]["required"].append("description")


def change_input_type(document: Document) -> None:
    document["components"]["schemas"]["NewConfig"]["properties"]["enabled"] = {"type": "string"}


def remove_response_field(document: Document) -> None:
    config = document["components"]["schemas"]["Config"]
    del config["properties"]["job_id"]
    config["required"].remove("job_id")


def make_response_field_nullable(document: Document) -> None:
    number = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    document["components"]["schemas"]["Config"]["properties"]["interval_minutes"] = number


def change_status(document: Document) -> None:
    responses = document["paths"][CONFIGS]["post"]["responses"]
    responses["200"] = responses.pop("201")


def change_content(document: Document) -> None:
    response = document["paths"][CONFIGS]["get"]["responses"]["200"]
    response["content"] = {"application/xml": {"schema": {"type": "string"}}}


@pytest.mark.parametrize(
    "change",
    [
        remove_path,
        remove_method,
        rename_operation,
        remove_parameter,
        require_parameter,
        lower_maximum,
        require_field,
        change_input_type,
        remove_response_field,
        make_response_field_nullable,
        change_status,
        change_content,
    ],
)
def test_a_change_that_breaks_clients_is_found(changed: Document, change: Callable[[Document], None]) -> None:
    change(changed)
    assert breaking_changes(described("openapi.json"), changed)


def test_additions_do_not_break_clients(changed: Document) -> None:
    changed["paths"][f"{PREFIX}/new"] = changed["paths"][f"{PREFIX}/status"]
    parameter = {"in": "query", "name": "tenant", "schema": {"type": "string"}}
    changed["paths"][CONFIGS]["get"]["parameters"].append(parameter)
    changed["components"]["schemas"]["NewConfig"]["properties"]["colour"] = {"type": "string"}
    changed["components"]["schemas"]["Config"]["properties"]["colour"] = {"type": "string"}
    assert breaking_changes(described("openapi.json"), changed) == []
