"""The overlay with an external Kafka and Postgres, as compose resolves it."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.deploying.compose_command import compose_command
from support.deploying.deployment import DEPLOY, JOBS, SERVICES, Deployment
from support.deploying.engine import Docker

ADDRESSES = {"KAFKA_BOOTSTRAP_SERVERS": "kafka.example.org:9093", "POSTGRES_ADDRESS": "db.example.org:5432"}


def _resolved(engine: Docker, folder: Path, variables: dict[str, str]) -> dict[str, Any]:
    overlays = (DEPLOY / "compose.external.yaml",)
    deployment = Deployment(engine, compose_command(engine), variables, folder, overlays=overlays)
    found: dict[str, Any] = json.loads(deployment.compose("config", "--format", "json"))
    return found


def test_all_clients_and_neither_server_are_started(engine: Docker, tmp_path: Path) -> None:
    resolved = _resolved(engine, tmp_path, ADDRESSES)
    services = resolved["services"]
    assert {*SERVICES, *JOBS} <= set(services)
    assert not {"kafka", "postgres"} & set(services)
    for name in (*SERVICES, *JOBS):
        environment = services[name]["environment"]
        if "KAFKA_BOOTSTRAP_SERVERS" in environment:
            assert environment["KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL", name
            assert {secret["source"] for secret in services[name]["secrets"]} >= {"kafka_password"}, name
        if "DATABASE_URL" in environment:
            assert environment["DATABASE_SSL_MODE"] == "verify-full", name
            assert "@db.example.org:5432/candlekeep" in environment["DATABASE_URL"], name
    assert not any(
        resolved["networks"][name].get("internal") for name in ("database", "messages", "collector-messages")
    )


@pytest.mark.parametrize("missing", ADDRESSES)
def test_a_missing_address_is_named(engine: Docker, tmp_path: Path, missing: str) -> None:
    with pytest.raises(AssertionError, match=f"required variable {missing} is missing"):
        _resolved(engine, tmp_path, ADDRESSES | {missing: ""})
