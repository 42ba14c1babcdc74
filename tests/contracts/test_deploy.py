"""Checks of the deployment that need no container engine."""

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from contracts.topics import ALL_TOPICS
from local_stack.database_logins import NAMES
from runtime.secret_files import SUFFIX
from runtime.settings import Setting, list_settings
from store.roles import DEFAULT_PREFIX, role_name
from store.settings import StoreSettings

REPOSITORY = Path(__file__).parents[2]
SERVICES = sorted(path.name for path in (REPOSITORY / "services").iterdir() if (path / "pyproject.toml").is_file())
DOCKERFILE = (REPOSITORY / "deploy/Dockerfile").read_text()
VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
THIRD_PARTY = {"kafka", "postgres", "prometheus", "alertmanager", "grafana", "proxy", "jaeger"}
OVERLAYS = sorted((REPOSITORY / "deploy").glob("compose.*.yaml"))
EACH_SERVICE = pytest.mark.parametrize("service", SERVICES)


def _compose() -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "deploy/compose.yaml").read_text())


def _known_variables(service: str) -> set[str]:
    """Its settings, and the files of those that are secrets."""
    settings = importlib.import_module(f"{service.replace('-', '_')}.settings")
    classes = [value for value in vars(settings).values() if isinstance(value, type) and hasattr(value, "model_fields")]
    return {name for cls in classes for setting in list_settings(cls) for name in _names(setting)}


def _names(setting: Setting) -> set[str]:
    return {setting.variable, setting.variable + SUFFIX} if setting.secret else {setting.variable}


@EACH_SERVICE
def test_the_image_copies_the_packages_that_the_service_depends_on(service: str) -> None:
    manifest = (REPOSITORY / f"services/{service}/pyproject.toml").read_text()
    libraries = {path.name for path in (REPOSITORY / "libs").iterdir() if f'"candlekeep-{path.name}"' in manifest}
    assert libraries >= {"contracts", "runtime"}
    [copied] = re.findall(r"^COPY (.+) /opt/candlekeep/$", DOCKERFILE, flags=re.MULTILINE)
    assert {f"libs/{library}/src" for library in libraries} | {"${FOLDER}/${SERVICE}/src"} <= set(copied.split())


@EACH_SERVICE
def test_compose_runs_the_image_of_the_service(service: str) -> None:
    assert (
        _compose()["services"][service]["image"]
        == f"${{IMAGE_PREFIX:-localhost/candlekeep/}}{service}:${{IMAGE_TAG:-{VERSION}}}"
    )


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
    known = {name for setting in list_settings(StoreSettings) for name in _names(setting)}
    assert set(environment) <= known
    files = {f"{name.replace('-', '_')}_database_password" for name in NAMES}
    assert files | {"postgres_password"} == set(_compose()["services"]["roles"]["secrets"])
    assert {f"/run/secrets/{file}" for file in files} <= set(environment.values())


def test_every_secret_comes_from_a_file_that_the_script_writes(tmp_path: Path) -> None:
    subprocess.run([REPOSITORY / "deploy/make-secrets", tmp_path], check=True, capture_output=True)
    monitoring = yaml.safe_load((REPOSITORY / "deploy/compose.monitoring.yaml").read_text())["secrets"]
    assert {path.name for path in tmp_path.iterdir()} == {*_compose()["secrets"], *monitoring}
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert len(set(written.values())) == len(written)
    assert {len(value) for value in written.values()} == {64}
    subprocess.run([REPOSITORY / "deploy/make-secrets", tmp_path], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == written
    for name, service in _compose()["services"].items():
        files = [value for key, value in service.get("environment", {}).items() if key.endswith(SUFFIX)]
        assert sorted(files) == sorted(f"/run/secrets/{secret}" for secret in service.get("secrets", [])), name


def test_the_overlay_for_notifications_sets_known_variables_and_reads_the_receivers_from_a_file() -> None:
    overlay = yaml.safe_load((REPOSITORY / "deploy/compose.notifications.yaml").read_text())
    assert set(overlay["services"]) == {"admin-api"}
    environment = overlay["services"]["admin-api"]["environment"]
    assert set(environment) <= _known_variables("admin-api")
    [secret] = overlay["secrets"]
    assert overlay["services"]["admin-api"]["secrets"] == [secret]
    assert environment["NOTIFY_URLS_FILE"] == f"/run/secrets/{secret}"


@EACH_SERVICE
def test_ports_agree_between_compose_the_image_and_prometheus(service: str) -> None:
    port = _compose()["services"][service]["environment"]["HTTP_PORT"]
    assert "'http://127.0.0.1:' + os.environ['HTTP_PORT'] + '/health/live'" in DOCKERFILE
    [job] = yaml.safe_load((REPOSITORY / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    [target] = [config for config in job["dns_sd_configs"] if config["names"] == [service]]
    assert (target["type"], target["port"]) == ("A", port)


def test_every_service_of_a_topic_is_deployed_and_none_runs_as_root() -> None:
    deployed = set(_compose()["services"])
    assert {name for topic in ALL_TOPICS for name in (*topic.producers, *topic.consumers)} <= deployed
    assert "\nUSER 65532:65532\n" in DOCKERFILE


def test_the_example_has_every_variable_of_the_compose_files_with_its_default() -> None:
    example = (REPOSITORY / "deploy/.env.example").read_text()
    text = "".join(path.read_text() for path in [REPOSITORY / "deploy/compose.yaml", *OVERLAYS])
    used = set(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    assert len(used) >= 10
    assert {f"{name}={default}" for name, default in used} | {"EXCHANGE_LANES={}"} == set(
        re.findall(r"^# ([A-Z_]+=.*)$", example, flags=re.MULTILINE)
    )


@pytest.mark.parametrize("file", [REPOSITORY / "deploy/compose.yaml", *OVERLAYS], ids=lambda file: file.name)
def test_every_container_is_limited(file: Path) -> None:
    for name, service in yaml.safe_load(file.read_text())["services"].items():
        if "image" not in service:
            continue  # an overlay that changes a service of compose.yaml
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"mem_limit", "pids_limit", "restart", "logging", "healthcheck"} <= set(service), name
        assert ("user" in service) == (name in THIRD_PARTY), name
        assert not {"privileged", "cap_add", "network_mode", "pid", "build"} & set(service), name


def test_the_collector_shares_networks_only_with_kafka_and_prometheus() -> None:
    """Prometheus is there to read its metrics, and listens on another network only."""
    compose = _compose()
    members = {name: set(service["networks"]) for name, service in compose["services"].items()}
    neighbours = {name for name, networks in members.items() if networks & members["collector"]} - {"collector"}
    assert neighbours == {"kafka", "prometheus"}
    assert not compose["networks"]["exchanges"]  # not internal: the way to the exchanges
    internal = {name for name, network in compose["networks"].items() if network and network["internal"]}
    assert set(compose["networks"]) - internal == {"exchanges", "published"}
    published = compose["services"]["prometheus"]["networks"]["published"]["aliases"]
    assert f"--web.listen-address={published[0]}:9090" in compose["services"]["prometheus"]["command"]


@EACH_SERVICE
def test_the_tracing_overlay_gives_every_service_the_endpoint_and_the_way_to_it(service: str) -> None:
    overlay = yaml.safe_load((REPOSITORY / "deploy/compose.tracing.yaml").read_text())
    environment = overlay["services"][service]["environment"]
    assert set(environment) <= _known_variables(service)
    endpoint = urlsplit(environment["OTEL_EXPORTER_OTLP_ENDPOINT"])
    shared = set(overlay["services"][service]["networks"]) & set(overlay["services"][endpoint.hostname]["networks"])
    assert len(shared) == 1
    jaeger = yaml.safe_load((REPOSITORY / "deploy/tracing/jaeger.yaml").read_text())
    assert jaeger["receivers"]["otlp"]["protocols"] == {"http": {"endpoint": f"0.0.0.0:{endpoint.port}"}}


def test_the_tracing_overlay_opens_the_collector_only_the_port_of_the_endpoint() -> None:
    overlay = yaml.safe_load((REPOSITORY / "deploy/compose.tracing.yaml").read_text())
    assert all(network == {"internal": True} for network in overlay["networks"].values())
    members = {name: set(service["networks"]) for name, service in overlay["services"].items()}
    assert members["collector"] <= set(overlay["networks"])
    assert {name for name, networks in members.items() if networks & members["collector"]} == {"collector", "jaeger"}
    [published] = overlay["services"]["jaeger"]["networks"]["published"]["aliases"]
    extensions = yaml.safe_load((REPOSITORY / "deploy/tracing/jaeger.yaml").read_text())["extensions"]
    assert extensions["jaeger_query"]["http"]["endpoint"] == f"{published}:16686"
    hidden = [extensions["jaeger_query"]["grpc"]["endpoint"], extensions["healthcheckv2"]["http"]["endpoint"]]
    assert {endpoint.partition(":")[0] for endpoint in hidden} == {"localhost"}


def test_the_database_is_reached_by_its_clients_only() -> None:
    services = _compose()["services"]
    clients = {name for name, service in services.items() if "DATABASE_URL" in service.get("environment", {})}
    assert {name for name, service in services.items() if "database" in service["networks"]} == clients | {"postgres"}


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
