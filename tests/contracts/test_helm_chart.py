"""Checks of the Helm chart that need no helm. tests/deploy has those of the rendered objects."""

import copy
import json
import runpy
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from contracts.topics import ALL_TOPICS, CANDLES, CONFIG_CHANGES, RUN_EVENTS, TICKS, Topic
from support.deploying.chart import CHART, VALUE_SETS, values_of

REPOSITORY = Path(__file__).parents[2]
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
GENERATE = runpy.run_path(str(REPOSITORY / "deploy/helm/generate.py"))
SHARED_WORK: dict[str, Topic] = {
    "scheduler": CONFIG_CHANGES,
    "collector": TICKS,
    "log-writer": RUN_EVENTS,
    "candle-writer": CANDLES,
}
"""The topic whose partitions the pods of a service share. The other services share work without Kafka."""


def _problem(values: dict[str, Any]) -> str:
    errors = jsonschema.Draft7Validator(SCHEMA).iter_errors(values)
    return "; ".join(f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors)


def test_generated_files_are_current() -> None:
    files: dict[Path, str] = GENERATE["generated_files"](REPOSITORY)
    stale = [
        str(path)
        for path, text in files.items()
        if not (REPOSITORY / path).is_file() or (REPOSITORY / path).read_text() != text
    ]
    present = {path.relative_to(REPOSITORY) for path in (CHART / "files").rglob("*") if path.is_file()}
    surplus = present - set(files)
    assert (stale, surplus) == ([], set()), "run: make generate"
    assert "| `image.prefix` |" in files[CHART.relative_to(REPOSITORY) / "README.md"]


def test_the_rules_of_prometheus_are_in_the_chart() -> None:
    rules = {
        path.name
        for path in (REPOSITORY / "deploy/prometheus").iterdir()
        if path.suffix in {".yml", ".yaml"} and "groups:" in path.read_text().splitlines()
    }
    assert rules
    assert {path.name for path in (CHART / "files/prometheus").iterdir()} == rules


def test_the_chart_has_the_version_of_the_services() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)


def _leaves(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key)


def test_every_value_is_described() -> None:
    """The values that every service has are described once, at admin-api."""
    text = (CHART / "values.yaml").read_text()
    described = {path for path, _, _ in GENERATE["described_values"](text)}
    for leaf in _leaves(yaml.safe_load(text)):
        paths = {".".join(leaf[:length]) for length in range(1, len(leaf) + 1)}
        if leaf[0] == "services":
            paths |= {".".join(("services", "admin-api", *leaf[2:length])) for length in range(3, len(leaf) + 1)}
        assert paths & described, ".".join(leaf)


@pytest.mark.parametrize("name", VALUE_SETS)
def test_the_values_follow_the_schema(name: str) -> None:
    assert _problem(values_of(name)) == ""


def test_the_schema_knows_exactly_the_values_that_there_are() -> None:
    def compare(schema: dict[str, Any], values: dict[str, Any], path: str) -> None:
        if "properties" in schema and path not in {"services", "secrets.overrides"} and values:
            assert set(schema["properties"]) - {"global"} >= set(values), path
            if path == "" or path.count(".") == 0:
                assert set(schema["properties"]) - {"global"} == set(values), path
        for key, value in values.items():
            if isinstance(value, dict) and key in schema.get("properties", {}):
                compare(schema["properties"][key], value, f"{path}.{key}".strip("."))

    compare(SCHEMA, values_of("default"), "")


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from _objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _objects(value)


def test_no_object_of_the_schema_accepts_unknown_values() -> None:
    """A map with free keys states the type of its values."""
    objects = [each for each in _objects(SCHEMA) if each is not SCHEMA["properties"]["global"]]
    assert len(objects) > 30
    for each in objects:
        free = each.get("additionalProperties", True)
        assert free is False or (isinstance(free, dict) and free), each


@pytest.mark.parametrize("service", SHARED_WORK)
def test_no_service_can_have_more_pods_than_partitions(service: str) -> None:
    properties = SCHEMA["properties"]["services"]["properties"][service]["properties"]
    limits = [properties["replicas"]["maximum"]]
    if "autoscaling" in properties:
        limits.append(properties["autoscaling"]["properties"]["maxReplicas"]["maximum"])
    assert set(limits) == {SHARED_WORK[service].partitions}


def test_the_topics_are_those_of_the_contracts() -> None:
    listed = json.loads((CHART / "files/topics.json").read_text())
    assert {topic["name"]: topic["partitions"] for topic in listed} == {
        topic.name: topic.partitions for topic in ALL_TOPICS
    }
    by_name = {topic.name: topic for topic in ALL_TOPICS}
    for topic in listed:
        declared = by_name[topic["name"]]
        assert topic["config"]["cleanup.policy"] == declared.cleanup.value
        retention = int(topic["config"]["retention.ms"])
        assert retention == (-1 if declared.retention is None else declared.retention.total_seconds() * 1000)


def test_the_script_for_secrets_writes_the_keys_that_the_chart_reads(tmp_path: Path) -> None:
    subprocess.run([REPOSITORY / "deploy/make-secrets", tmp_path], check=True, capture_output=True)
    keys = set(SCHEMA["properties"]["secrets"]["properties"]["overrides"]["properties"])
    not_in_the_chart = {"grafana_admin_password"}  # the chart starts no Grafana
    not_random = {"notify_urls"}  # addresses of receivers, which only the operator knows
    assert {path.name for path in tmp_path.iterdir()} - not_in_the_chart == keys - not_random


WRONG_VALUES: list[tuple[str, Any, str]] = [
    ("kafka.bootstrapServer", "kafka:9092", "'bootstrapServer' was unexpected"),
    ("kafka.bootstrapServers", "kafka", "does not match"),
    ("kafka.peers", [], "kafka.peers"),
    ("database.port", "5432", "is not of type 'integer'"),
    ("services.collector.replicas", 25, "is greater than the maximum of 24"),
    ("services.candle-writer.autoscaling.maxReplicas", 13, "is greater than the maximum of 12"),
    ("services.writer", {}, "'writer' was unexpected"),
    ("services.scheduler.env", {"HTTP_PORT": 9000}, "HTTP_PORT"),
    ("services.scheduler.env", {"log_level": "DEBUG"}, "does not match"),
    ("services.scheduler.resources", {"requests": {"memory": "1Gi"}}, "'limits' is a required property"),
    ("shutdown.marginSeconds", 5, "is less than the minimum of 15"),
    ("ingress", {"enabled": True, "host": "candlekeep.example.com", "tlsSecret": ""}, "ingress.tlsSecret"),
    ("ingress", {"enabled": True, "host": "", "tlsSecret": "tls"}, "ingress.host"),
    ("notifications.ports", ["https"], "is not of type 'integer'"),
    ("secrets.overrides", {"admin-token": {"secret": "a", "key": "b"}}, "'admin-token' was unexpected"),
    ("image.pullPolicy", "Sometimes", "is not one of"),
    ("strimzi.apiVersion", "kafka.strimzi.io/v1alpha1", "is not one of"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG_VALUES)
def test_wrong_values_are_refused_with_their_place(path: str, value: Any, message: str) -> None:
    values = copy.deepcopy(values_of("default"))
    *parents, key = path.split(".")
    parent = values
    for name in parents:
        parent = parent[name]
    parent[key] = value
    problem = _problem(values)
    assert message in problem
    assert path.rpartition(".")[0] in problem
