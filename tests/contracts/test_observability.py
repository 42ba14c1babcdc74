"""Alertmanager, Grafana and the dashboards: they agree with compose, and each query uses metrics that exist."""

import importlib
import inspect
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, metrics

from runtime.metrics import ConsumerMetrics, PublisherMetrics, new_registry
from support.promql import dashboard_queries, family, grouping_labels, used_labels, used_names

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
SERVICES = sorted(path.name for path in (REPOSITORY / "services").iterdir() if (path / "pyproject.toml").is_file())
DASHBOARDS = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
EACH_DASHBOARD = pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
OF_PROMETHEUS = {"up": {"job", "service", "instance"}, "ALERTS": {"alertname", "alertstate", "severity"}}
"""Series that Prometheus makes itself, with the labels that are used."""
OF_SCRAPES = {"job", "service", "instance"}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count"), "summary": ("",)}


def _registry() -> CollectorRegistry:
    """One registry with the metrics of all services."""
    registry = new_registry()
    ConsumerMetrics(registry)
    PublisherMetrics(registry)
    for service in SERVICES:
        module = importlib.import_module(f"{service.replace('-', '_')}.metrics")
        for name, cls in inspect.getmembers(module, inspect.isclass):
            if cls.__module__ == module.__name__ and "Metrics" in name and "Middleware" not in name:
                cls(registry)
    return registry


def _series() -> dict[str, set[str]]:
    """The labels by the name of each series of a scrape."""
    found: dict[str, set[str]] = dict(OF_PROMETHEUS)
    for collector in _registry()._collector_to_names:
        for metric in collector.collect():
            labels = set(collector._labelnames) if isinstance(collector, metrics.MetricWrapperBase) else set()
            for suffix in SUFFIXES.get(metric.type, ("",)):
                more = {"le"} if suffix == "_bucket" else set()
                found[metric.name + suffix] = labels | more | OF_SCRAPES
    return found


def _dashboard(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text()))


@pytest.mark.parametrize("name", ["alertmanager.yml", "example.yml"])
def test_alertmanager_accepts_the_configuration(name: str) -> None:
    checked = subprocess.run(
        ["amtool", "check-config", DEPLOY / "alertmanager" / name], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_default_sends_nothing_and_the_example_reads_secrets_from_files() -> None:
    default = yaml.safe_load((DEPLOY / "alertmanager/alertmanager.yml").read_text())
    assert default["receivers"] == [{"name": default["route"]["receiver"]}]
    example = (DEPLOY / "alertmanager/example.yml").read_text()
    assert not re.findall(r"(?:password|api_url|token|secret):", example)
    assert {"email_configs", "slack_configs", "webhook_configs"} <= set(re.findall(r"\w+_configs", example))


def test_there_is_an_overview_and_a_dashboard_per_service() -> None:
    assert {file.stem for file in DASHBOARDS} == {"overview", *SERVICES}
    assert len({_dashboard(file)["uid"] for file in DASHBOARDS}) == len(DASHBOARDS)


@EACH_DASHBOARD
def test_the_title_of_a_panel_is_a_question(file: Path) -> None:
    titles = [panel["title"] for panel in _dashboard(file)["panels"]]
    assert len(set(titles)) == len(titles) >= 8
    assert [title for title in titles if not title.endswith("?")] == []


@EACH_DASHBOARD
def test_queries_use_existing_series_and_labels(file: Path) -> None:
    series = _series()
    for title, query in dashboard_queries(file):
        names = used_names(query)
        assert names, title
        assert names <= set(series), f"{title}: {names - set(series)}"
        labels = set.union(*(series[name] for name in names))
        assert used_labels(query) <= labels, f"{title}: {used_labels(query) - labels}"


@EACH_DASHBOARD
def test_legends_use_labels_that_the_query_keeps(file: Path) -> None:
    for panel in _dashboard(file)["panels"]:
        for target in panel["targets"]:
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = grouping_labels(target["expr"]) if " by " in target["expr"] else OF_SCRAPES
            assert used <= kept, panel["title"]


@pytest.mark.parametrize(
    "query",
    [
        "sum(rate(candlekeep_no_such_total[5m]))",
        "rate(candlekeep_runs[5m])",
        "candlekeep_runs_in_flight / candlekeep_no_such",
    ],
)
def test_the_check_notices_an_unknown_series(query: str) -> None:
    assert not used_names(query) <= set(_series())


def test_every_metric_of_a_service_is_on_a_dashboard() -> None:
    declared = {metric.name for metric in _registry().collect() if metric.name.startswith("candlekeep_")}
    used = {family(name) for file in DASHBOARDS for _, query in dashboard_queries(file) for name in used_names(query)}
    assert declared - used == set()


def _monitoring() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.monitoring.yaml").read_text())["services"])


def test_grafana_reads_the_mounted_files_and_the_data_source_exists() -> None:
    grafana = _monitoring()["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    [provider] = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/candlekeep.yml").read_text())["providers"]
    assert provider["options"]["path"] == mounts["./grafana/dashboards"]
    [source] = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    [alias] = compose["prometheus"]["networks"]["published"]["aliases"]
    assert source["url"] == f"http://{alias}:9090"
    for file in DASHBOARDS:
        assert set(re.findall(r'"uid": "(candlekeep-prometheus|[^"]+)"', file.read_text())) == {
            source["uid"],
            _dashboard(file)["uid"],
        }


def test_grafana_requires_a_login() -> None:
    environment = _monitoring()["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == environment["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_admin_password"


@pytest.mark.parametrize("name", ["alertmanager", "grafana"])
def test_it_is_only_in_the_network_published_and_on_a_local_port(name: str) -> None:
    service = _monitoring()[name]
    assert service["networks"] == ["published"]
    assert [port.startswith("127.0.0.1:") for port in service["ports"]] == [True]


@pytest.mark.parametrize("name", ["alertmanager", "grafana"])
def test_it_is_hardened_and_limited(name: str) -> None:
    service = _monitoring()[name]
    assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (
        *(True, ["ALL"]),
        ["no-new-privileges:true"],
    )
    assert {"mem_limit", "pids_limit"} <= service.keys()
    assert service["user"] not in {"0", "root"}


def test_prometheus_sends_alerts_to_the_alertmanager_of_the_overlay() -> None:
    alerting = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["alerting"]
    [[pattern]] = [config["files"] for config in alerting["alertmanagers"][0]["file_sd_configs"]]
    [source, target, _] = _monitoring()["prometheus"]["volumes"][0].split(":")
    assert Path(target).match(pattern)
    assert yaml.safe_load((DEPLOY / source).read_text()) == [{"targets": ["alertmanager:9093"]}]
