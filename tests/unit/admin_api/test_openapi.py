"""The OpenAPI description of the API, from which clients are generated."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

import admin_api
from admin_api.app import build_api
from admin_api.settings import AdminApiSettings

COMMITTED = Path(admin_api.__file__).parents[2] / "openapi.json"
BASE = "/api/v1/admin/data-collection"
OPERATION_IDS = {
    "preflight_config",
    "report_config_activity",
    "report_config_selection",
    "report_exchange_use",
    "get_chart",
    "list_backfills",
    "create_backfill",
    "get_backfill",
    "pause_backfill",
    "resume_backfill",
    "cancel_backfill",
    "list_configs",
    "create_config",
    "get_config",
    "update_config",
    "delete_config",
    "enable_config",
    "disable_config",
    "trigger_config",
    "bulk_create_configs",
    "bulk_enable_configs",
    "bulk_disable_configs",
    "bulk_trigger_configs",
    "bulk_delete_configs",
    "export_configs",
    "apply_configs",
    "list_execution_logs",
    "get_execution_log",
    "get_stats",
    "get_status",
    "get_candles",
    "list_series",
    "get_completeness",
    "get_coverage",
    "list_exchanges",
    "get_exchange",
    "list_incidents",
    "list_rejected_candles",
    "report_top_symbols",
    "report_recent_failures",
    "report_exchanges",
    "report_history",
    "report_next_losses",
    "list_services",
    "list_backfill_series",
    "list_backfill_chunks",
    "export_execution_logs",
    "get_me",
    "open_session",
    "close_session",
    "list_tokens",
    "create_token",
    "revoke_token",
    "rotate_token",
    "list_audit_log",
    "stream_events",
    "health_live",
    "health_ready",
    "metrics",
}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    settings = AdminApiSettings(
        candlekeep_admin_token=SecretStr("x" * 24),
        database_url=SecretStr("postgresql://nowhere/nothing"),
        kafka_bootstrap_servers="nowhere:1",
    )
    return build_api(settings).app.openapi()


def operations(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = [operation for item in schema["paths"].values() for operation in item.values()]
    return {operation["operationId"]: operation for operation in found}


def test_the_committed_description_is_current(schema: dict[str, Any]) -> None:
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == schema, (
        "stale: run `python -m admin_api openapi > services/admin-api/openapi.json`"
    )


def test_operation_ids_are_stable(schema: dict[str, Any]) -> None:
    assert set(operations(schema)) == OPERATION_IDS


def test_every_data_route_declares_the_token_and_problems_for_its_errors(schema: dict[str, Any]) -> None:
    for path, item in schema["paths"].items():
        for operation in item.values():
            assert ("security" in operation) == path.startswith(BASE), path
            for status, response in operation["responses"].items():
                if status.startswith("2") or status == "304" or not path.startswith(BASE):
                    continue
                [kind] = response["content"]
                assert kind == "application/problem+json", (path, status)
            if path.startswith(BASE):
                assert {"401", "503"} <= operation["responses"].keys()


def test_limits_and_defaults_are_declared(schema: dict[str, Any]) -> None:
    def parameter(operation: str, name: str) -> dict[str, Any]:
        declared = {each["name"]: each["schema"] for each in operations(schema)[operation]["parameters"]}
        return {key: declared[name].get(key) for key in ("default", "minimum", "maximum")}

    assert parameter("list_configs", "limit") == {"default": 100, "minimum": 1, "maximum": 100}
    assert parameter("list_execution_logs", "limit") == {"default": 100, "minimum": 1, "maximum": 1000}
    assert parameter("get_stats", "hours") == {"default": 24, "minimum": 1, "maximum": 720}
    assert parameter("get_candles", "limit") == {"default": 1000, "minimum": 1, "maximum": 10000}


def test_every_reference_in_the_description_is_resolvable(schema: dict[str, Any]) -> None:
    references = set()

    def collect(node: Any) -> None:
        if isinstance(node, dict):
            references.update({node["$ref"]} if "$ref" in node else ())
            for value in node.values():
                collect(value)
        elif isinstance(node, list):
            for value in node:
                collect(value)

    collect(schema)
    assert references
    for reference in references:
        target: Any = schema
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
        assert target
