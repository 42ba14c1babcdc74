"""The alerts: their tests with promtool, the metrics that they watch, their entries in docs/alerts.md."""

import json
import os
import re
import shutil
import subprocess
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, Histogram

from contracts.topics import ALL_TOPICS, CONFIG_CHANGES
from contracts.vocabulary import ErrorClass
from runtime.metrics import ConsumerMetrics, PublisherMetrics

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "deploy/prometheus"
SERVICES = sorted(path.name for path in (REPOSITORY / "services").iterdir() if (path / "pyproject.toml").is_file())
MAX_SERIES = 2000
EXCHANGES = 5
"""5,000 configs are on a few exchanges. Each of them is counted with every status, trigger and error class."""


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in _rules() if "alert" in rule}


def _promtool(*arguments: str) -> str:
    if shutil.which("promtool") is None:
        reason = "promtool is missing: install Prometheus, on Debian the package prometheus"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    done = subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_promtool_accepts_the_rules_and_the_configuration(tmp_path: Path) -> None:
    assert _promtool("check", "rules", "--lint=all", "--lint-fatal", "alerts.yml") == ""
    config = (FOLDER / "prometheus.yml").read_text().replace("/etc/prometheus/", f"{FOLDER}/")
    (tmp_path / "prometheus.yml").write_text(config)
    assert _promtool("check", "config", str(tmp_path / "prometheus.yml")) == ""


def test_every_alert_fires_and_resolves() -> None:
    assert _promtool("test", "rules", "alerts_test.yml") == ""


def test_a_wrong_expectation_fails(tmp_path: Path) -> None:
    text = (FOLDER / "alerts_test.yml").read_text()
    wrong = text.replace("  - alerts.yml", f"  - {FOLDER}/alerts.yml").replace("90%", "91%")
    (tmp_path / "wrong.yml").write_text(wrong)
    assert "CandlekeepRetentionIsNear" in _promtool("test", "rules", str(tmp_path / "wrong.yml"))


@pytest.mark.parametrize("alert", ALERTS)
def test_a_test_of_each_alert_expects_it_to_fire_and_to_resolve(alert: str) -> None:
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    expected = [bool(each["exp_alerts"]) for test in tests for each in test["alert_rule_test"] if _is(each, alert)]
    assert set(expected) == ({True} if alert == "CandlekeepWatchdog" else {True, False})


def _is(expectation: dict[str, Any], alert: str) -> bool:
    return bool(expectation["alertname"] == alert)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_a_severity_a_summary_and_an_entry_in_the_docs(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"critical", "warning", "info", "none"}
    assert rule["annotations"] == {
        "summary": rule["annotations"]["summary"],
        "runbook": f"docs/alerts.md#{alert.lower()}",
    }
    entry = re.search(
        rf"^## {alert}\n(.*?)(?=^## |\Z)", (REPOSITORY / "docs/alerts.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert entry is not None
    assert re.findall(r"^- \*\*(.+?)\.\*\* .+$", entry[1], re.MULTILINE) == ["Meaning", "See it", "Do"]


def test_every_entry_is_about_an_alert_and_its_links_exist() -> None:
    page = (REPOSITORY / "docs/alerts.md").read_text()
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == sorted(ALERTS, key=list(ALERTS).index)
    headings = re.findall(r"^## (.+)$", (REPOSITORY / "docs/runbook.md").read_text(), re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-").replace(",", "") for heading in headings}
    assert set(re.findall(r"\(runbook\.md#([\w-]+)\)", page)) <= anchors


def _names(expression: str) -> set[str]:
    return {
        re.sub(r"_(total|bucket|sum|count)$", "", name) for name in re.findall(r"\bcandlekeep_\w+", expression)
    } | set(re.findall(r"\bcandlekeep:[\w:]+", expression))


def test_the_rules_watch_existing_metrics() -> None:
    code = "".join(path.read_text() for path in REPOSITORY.glob("*/*/src/*/metrics.py"))
    known = set(re.findall(r'"(candlekeep_\w+)"', code)) | {rule["record"] for rule in _rules() if "record" in rule}
    for rule in _rules():
        watched = _names(rule["expr"])
        assert watched <= known, rule
        assert watched or "up{" in rule["expr"] or rule["alert"] == "CandlekeepWatchdog", rule


@pytest.mark.parametrize("service", SERVICES)
def test_an_alert_fires_for_a_service_without_containers(service: str) -> None:
    assert f'absent(up{{job="candlekeep", service="{service}"}})' in ALERTS["CandlekeepTargetDown"]["expr"]


def test_the_alert_about_ticks_expects_the_number_of_partitions() -> None:
    assert ALERTS["CandlekeepTicksNotPublished"]["expr"].endswith(f"< {CONFIG_CHANGES.partitions}")


def _bounds() -> dict[str, int]:
    """Label to the largest number of its values in one process."""
    document = json.loads((REPOSITORY / "services/admin-api/openapi.json").read_text())
    routes = sum(len(methods) for methods in document["paths"].values())
    return {
        "exchange": EXCHANGES,
        "error_class": len(ErrorClass),
        "status": 5,
        "trigger": 8,
        "topic": len(ALL_TOPICS),
        "partition": 24,
        "consumer": 1,
        "route": routes,
        "method": 1,  # counted with the route
        "timeframe": 16,
    }


@pytest.mark.parametrize("service", SERVICES)
def test_five_thousand_configs_make_at_most_two_thousand_series(service: str) -> None:
    """No label has a value per config, symbol or series."""
    registry = CollectorRegistry()
    module = import_module(f"{service.replace('-', '_')}.metrics")
    [metrics] = [
        value
        for name, value in vars(module).items()
        if re.fullmatch(r"(\w+Writer|\w+er|\w*or)?Metrics", name) and value.__module__ == module.__name__
    ]
    for cls in (metrics, ConsumerMetrics, PublisherMetrics):
        cls(registry)
    bounds, series = _bounds(), 0
    for collector in set(registry._collector_to_names):
        labels = getattr(collector, "_labelnames", ())
        assert not {"symbol", "config", "config_id", "job_name", "series", "run_id"} & set(labels), collector
        each = len(collector._upper_bounds) + 2 if isinstance(collector, Histogram) else 1
        series += each * prod(bounds.get(label, 10) for label in labels)
    print(f"{service}: at most {series} series")
    assert series <= MAX_SERIES
