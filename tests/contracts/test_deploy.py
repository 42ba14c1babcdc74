"""Checks of the deployment that need no container engine."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from contracts.topics import ALL_TOPICS, CONFIG_CHANGES
from local_stack.database_logins import NAMES
from runtime.settings import list_settings
from store.roles import DEFAULT_PREFIX, role_name
from store.settings import StoreSettings

REPOSITORY = Path(__file__).parents[2]
SERVICES = sorted(path.name for path in (REPOSITORY / "services").iterdir() if (path / "pyproject.toml").is_file())
DOCKERFILE = (REPOSITORY / "deploy/Dockerfile").read_text()
EACH_SERVICE = pytest.mark.parametrize("service", SERVICES)


def _compose() -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "deploy/compose.yaml").read_text())


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _known_variables(service: str) -> set[str]:
    settings = importlib.import_module(f"{service.replace('-', '_')}.settings")
    classes = [value for value in vars(settings).values() if isinstance(value, type) and hasattr(value, "model_fields")]
    return {name.upper() for cls in classes for name in cls.model_fields}


def test_the_compose_file_is_valid() -> None:
    command = [_tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml"]
    checked = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_the_dockerfile_passes_hadolint() -> None:
    command = [_tool("hadolint"), "deploy/Dockerfile"]
    checked = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@EACH_SERVICE
def test_the_image_copies_the_packages_that_the_service_depends_on(service: str) -> None:
    manifest = (REPOSITORY / f"services/{service}/pyproject.toml").read_text()
    libraries = {path.name for path in (REPOSITORY / "libs").iterdir() if f'"candlekeep-{path.name}"' in manifest}
    assert libraries >= {"contracts", "runtime"}
    [copied] = re.findall(r"^COPY (.+) /opt/candlekeep/$", DOCKERFILE, flags=re.MULTILINE)
    assert {f"libs/{library}/src" for library in libraries} | {"${FOLDER}/${SERVICE}/src"} <= set(copied.split())


@EACH_SERVICE
def test_compose_builds_the_image_of_the_service(service: str) -> None:
    build = _compose()["services"][service]["build"]
    assert build == {"context": "..", "dockerfile": "deploy/Dockerfile", "args": {"SERVICE": service}}


def test_every_service_has_an_image() -> None:
    script = (REPOSITORY / "deploy/build-images").read_text()
    [names] = re.findall(r"^names=\$\{\*:-(.+)\}$", script, flags=re.MULTILINE)
    assert sorted(names.split()) == sorted([*SERVICES, "exchange-simulator"])


def test_the_jobs_of_compose_run_modules_that_exist() -> None:
    for job in ("roles", "migrate", "topics"):
        python, option, module, *_ = _compose()["services"][job]["command"]
        assert (python, option) == ("python", "-m")
        assert importlib.util.find_spec(module), module


@EACH_SERVICE
def test_compose_sets_only_variables_that_the_service_knows(service: str) -> None:
    environment = set(_compose()["services"][service]["environment"])
    assert environment <= _known_variables(service)


def test_every_process_connects_to_the_database_with_its_own_role() -> None:
    services = _compose()["services"]
    names = {name: name for name in SERVICES} | {"migrate": "migrations"}
    urls = {name: services[name]["environment"].get("DATABASE_URL") for name in names}
    users = {name: urlsplit(url).username for name, url in urls.items() if url}
    assert users == {name: role_name(DEFAULT_PREFIX, names[name]) for name in users}
    assert set(users) == {"admin-api", "log-writer", "candle-writer", "backfiller", "migrate"}


def test_the_job_that_makes_the_roles_gets_the_passwords_that_the_services_use() -> None:
    environment = _compose()["services"]["roles"]["environment"]
    assert set(environment) <= {setting.variable for setting in list_settings(StoreSettings)}
    assert {f"{name.replace('-', '_').upper()}_DATABASE_PASSWORD" for name in NAMES} <= set(environment)
    example = (REPOSITORY / "deploy/.env.example").read_text()
    for name, service in _compose()["services"].items():
        for variable in re.findall(r"\$\{(\w+)", str(service.get("environment", ""))):
            assert f"\n{variable}=\n" in example, (name, variable)


@EACH_SERVICE
def test_ports_agree_between_compose_the_image_and_prometheus(service: str) -> None:
    port = _compose()["services"][service]["environment"]["HTTP_PORT"]
    assert "'http://127.0.0.1:' + os.environ['HTTP_PORT'] + '/health/live'" in DOCKERFILE
    scrape = yaml.safe_load((REPOSITORY / "deploy/prometheus/prometheus.yml").read_text())
    assert f"{service}:{port}" in scrape["scrape_configs"][0]["static_configs"][0]["targets"]


def _alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((REPOSITORY / "deploy/prometheus/alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_alerts_use_existing_metrics_and_link_to_existing_pages() -> None:
    code = "".join(path.read_text() for path in REPOSITORY.glob("*/*/src/*/metrics.py"))
    defined = set(re.findall(r'"(candlekeep_\w+)"', code))
    headings = re.findall(r"^## (.+)$", (REPOSITORY / "docs/runbook.md").read_text(), flags=re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    for rule in _alerts():
        watched = {re.sub(r"_(total|bucket)$", "", name) for name in re.findall(r"candlekeep_\w+", rule["expr"])}
        assert watched <= defined, rule["alert"]
        assert watched or "up{" in rule["expr"], rule["alert"]
        if page := rule["annotations"].get("runbook"):
            assert page.partition("#")[2] in anchors, rule["alert"]


def test_the_alert_about_ticks_expects_the_number_of_partitions() -> None:
    [rule] = [rule for rule in _alerts() if rule["alert"] == "CandlekeepTicksNotPublished"]
    assert rule["expr"].endswith(f"< {CONFIG_CHANGES.partitions}")


def test_every_service_of_a_topic_is_deployed_and_none_runs_as_root() -> None:
    deployed = set(_compose()["services"])
    assert {name for topic in ALL_TOPICS for name in (*topic.producers, *topic.consumers)} <= deployed
    assert "\nUSER 65532:65532\n" in DOCKERFILE
    for service in SERVICES:
        assert _compose()["services"][service]["read_only"] is True


def test_services_wait_for_the_jobs_that_they_need() -> None:
    services = _compose()["services"]
    for name in SERVICES:
        environment, waits = services[name]["environment"], services[name]["depends_on"]
        assert ("migrate" in waits) == ("DATABASE_URL" in environment), name
        # The API must start while Kafka is down.
        assert ("topics" in waits) == (name != "admin-api"), name


@EACH_SERVICE
def test_lock_files_contain_hashes_and_no_urls(service: str) -> None:
    for folder in (f"services/{service}", "tools/exchange-simulator", "."):
        text = (REPOSITORY / folder / "requirements.lock").read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "index-url" not in text
