"""The overlay with Alertmanager and Grafana: an alert that a banning exchange provokes, and the dashboards."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from local_stack.ports import free_port
from support.deploying.compose_command import compose_command
from support.deploying.deployment import DEPLOY, SIMULATOR, Deployment, remove
from support.deploying.engine import Docker
from support.deploying.limits import assert_no_needless_rights, open_addresses
from support.deploying.report import say
from support.polling import eventually
from support.promql import dashboard_queries, family, used_names

DASHBOARDS = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
ALERT = "CandlekeepExchangeUnhealthy"
BAN_SECONDS = 10
PORTS = {"alertmanager": (9093,), "grafana": (3000,), "prometheus": (9090,)}
SET_MOODS = """
import sys, urllib.request
method, body = sys.argv[1:]
url = "http://exchange-simulator:9900/control/moods"
request = urllib.request.Request(url, body.encode() or None, {"Content-Type": "application/json"}, method=method)
urllib.request.urlopen(request, timeout=10)
"""


@dataclass(frozen=True)
class Monitored:
    deployment: Deployment
    alertmanager_port: int
    grafana_port: int

    def get(self, port: int, path: str, auth: tuple[str, str] | None = None, **parameters: str) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=30) as client:
            return client.get(f"http://127.0.0.1:{port}{path}", params=parameters, auth=auth)

    def in_prometheus(self) -> set[str]:
        """The alerts that fire in Prometheus."""
        found = self.get(self.deployment.prometheus_port, "/api/v1/alerts").raise_for_status().json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"}

    def in_alertmanager(self) -> dict[str, dict[str, Any]]:
        """The active alerts of Alertmanager by their name."""
        found = self.get(self.alertmanager_port, "/api/v2/alerts", active="true").raise_for_status().json()
        return {alert["labels"]["alertname"]: alert for alert in found}

    def set_moods(self, method: str, body: str = "") -> None:
        self.deployment.execute(SIMULATOR, "python", "-c", SET_MOODS, method, body)


def _quick(folder: Path) -> Path:
    """An overlay with the real rules and configuration, but with short times."""
    rules = re.sub(r"^( +for:) .+$", r"\1 5s", (DEPLOY / "prometheus/alerts.yml").read_text(), flags=re.MULTILINE)
    (folder / "alerts.yml").write_text(rules)
    configuration = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    configuration["global"] |= {"scrape_interval": "3s", "evaluation_interval": "3s"}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    volumes = [f"{folder / name}:/etc/prometheus/{name}:ro" for name in ("alerts.yml", "prometheus.yml")]
    overlay = folder / "compose.quick-alerts.yaml"
    overlay.write_text(yaml.safe_dump({"services": {"prometheus": {"volumes": volumes}}}))
    return overlay


@pytest.fixture(scope="module")
def monitored(engine: Docker, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    folder = tmp_path_factory.mktemp("monitoring")
    ports = free_port(), free_port()
    variables = images | {"ALERTMANAGER_PORT": str(ports[0]), "GRAFANA_PORT": str(ports[1])}
    overlays = (DEPLOY / "compose.simulator.yaml", DEPLOY / "compose.monitoring.yaml", _quick(folder))
    deployment = Deployment(engine, compose_command(engine), variables, folder, overlays=overlays)
    try:
        try:
            deployment.compose("up", "--detach", "--wait", seconds=600)
        except AssertionError as error:
            pytest.fail(f"{error}\n{deployment.all_logs()}", pytrace=False)
        yield Monitored(deployment, *ports)
    finally:
        remove(deployment)


@pytest.mark.parametrize("service", ["alertmanager", "grafana"])
def test_a_process_has_no_rights_that_it_does_not_need(monitored: Monitored, service: str) -> None:
    assert_no_needless_rights(monitored.deployment, service)


def test_the_collector_reaches_none_of_them(monitored: Monitored) -> None:
    """The API shares the network `published` with them, so the result can differ."""
    assert open_addresses(monitored.deployment, "collector", PORTS) == set()
    assert open_addresses(monitored.deployment, "admin-api", PORTS) >= {"alertmanager:9093", "grafana:3000"}


async def test_a_banning_exchange_fires_an_alert_that_reaches_alertmanager_and_resolves(monitored: Monitored) -> None:
    await eventually(lambda: "CandlekeepWatchdog" in monitored.in_alertmanager(), within=90, every=1)
    assert ALERT not in monitored.in_prometheus()
    monitored.set_moods("POST", json.dumps({"kind": "ban", "exchange": "binance", "retry_after": BAN_SECONDS}))
    config = {"symbol": "BTC/USDT", "exchange": "binance", "timeframes": ["1m"], "interval_minutes": 1}
    async with monitored.deployment.api() as api:
        assert (await api.post("/configs", json=config)).status_code == 201
    fired = await eventually(lambda: monitored.in_alertmanager().get(ALERT), within=120, every=1)
    assert fired["labels"] == {"alertname": ALERT, "exchange": "binance", "severity": "warning"}
    assert "binance" in fired["annotations"]["summary"]
    assert ALERT in monitored.in_prometheus()
    monitored.set_moods("DELETE")
    await eventually(lambda: ALERT not in monitored.in_prometheus(), within=180, every=1)
    await eventually(lambda: ALERT not in monitored.in_alertmanager(), within=60, every=1)
    assert "CandlekeepWatchdog" in monitored.in_alertmanager()


async def test_every_metric_of_dashboards_and_alerts_is_in_a_real_scrape(monitored: Monitored) -> None:
    """Prometheus also knows metrics without a sample yet, from the types that each scrape contains."""
    rules = [
        rule
        for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    ]
    queries = [query for file in DASHBOARDS for _, query in dashboard_queries(file)] + [rule["expr"] for rule in rules]
    made_by_prometheus = {"up", "ALERTS", *(rule["record"] for rule in rules if "record" in rule)}
    used = {name for query in queries for name in used_names(query)} - made_by_prometheus
    assert len(used) > 80

    def all_found() -> bool:
        answer = monitored.get(monitored.deployment.prometheus_port, "/api/v1/metadata").raise_for_status().json()
        scraped = {family(name) for name in answer["data"]}
        assert {name for name in used if family(name) not in scraped} == set()
        return True

    await eventually(all_found, within=60, every=1)
    say(f"{len(used)} series of {len(queries)} queries are in the scrape of the running stack")


def test_grafana_needs_the_password_and_has_every_dashboard(monitored: Monitored) -> None:
    path = "/api/search"
    assert monitored.get(monitored.grafana_port, path).status_code == 401
    assert monitored.get(monitored.grafana_port, path, ("admin", "admin")).status_code == 401
    found = monitored.get(monitored.grafana_port, path, _admin(monitored), type="dash-db").raise_for_status().json()
    expected = {json.loads(file.read_text())["title"] for file in DASHBOARDS}
    assert {dashboard["title"] for dashboard in found} == expected


def _admin(monitored: Monitored) -> tuple[str, str]:
    return "admin", (monitored.deployment.secrets / "grafana_admin_password").read_text()


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_prometheus_answers_the_queries_of_a_dashboard(monitored: Monitored, file: Path) -> None:
    path = "/api/datasources/proxy/uid/candlekeep-prometheus/api/v1/query"
    answered = 0
    for title, query in dashboard_queries(file):
        answer = monitored.get(monitored.grafana_port, path, _admin(monitored), query=query)
        assert answer.json()["status"] == "success", title
        answered += bool(answer.json()["data"]["result"])
    assert answered >= 5
