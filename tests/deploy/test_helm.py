"""The objects that the Helm chart makes, for each set of values in its folder ci/."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime.secret_files import SUFFIX
from runtime.settings import KafkaSettings, list_settings
from store.roles import role_name
from store.settings import StoreSettings
from support.deploying.chart import (
    KUBERNETES_VERSIONS,
    VALUE_SETS,
    Helm,
    Manifest,
    Rendered,
    component_of,
    container_of,
    invalid,
    selects,
)
from support.deploying.deployment import SERVICES
from support.deploying.images import ROOT
from support.deploying.report import say

# The first test waits until Go has built helm and kubeconform.
pytestmark = pytest.mark.timeout(2400)
PORTS = {name: 8000 + number for number, name in enumerate(SERVICES)}
LOGINS = {
    "admin-api": "admin-api",
    "log-writer": "log-writer",
    "candle-writer": "candle-writer",
    "backfiller": "backfiller",
    "migrate": "migrations",
}
"""The login of each process that uses the database, as store.roles names it. The job `roles` uses the administrator."""
STOP_MARGIN = 15
"""The setting SHUTDOWN_GRACE_SECONDS says that the stop timeout must be this number of seconds longer."""
EACH_SET = pytest.mark.parametrize("name", VALUE_SETS)


def _pod(workload: Manifest) -> dict[str, Any]:
    return dict(workload["spec"]["template"]["spec"])


def _seconds(probe: dict[str, Any]) -> int:
    return int(probe["periodSeconds"]) * int(probe["failureThreshold"])


def _environment(workload: Manifest) -> dict[str, str]:
    listed = [(each["name"], each["value"]) for each in container_of(workload)["env"]]
    assert len(dict(listed)) == len(listed), "a variable is set twice"
    return dict(listed)


@EACH_SET
def test_helm_finds_no_fault(helm: Helm, name: str) -> None:
    done = helm.lint(name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@EACH_SET
def test_the_objects_follow_the_schemas_of_kubernetes(helm: Helm, name: str, version: str) -> None:
    assert invalid(helm.rendered(name).text, version, say) == ""


def test_a_wrong_field_does_not_follow_the_schemas(helm: Helm) -> None:
    """The validation is strict, also for objects of operators."""
    text = helm.rendered("everything").text
    for right, wrong in (
        ("readOnlyRootFilesystem:", "readOnlyRootFileSystem:"),
        ("maxReplicaCount:", "maxReplicasCount:"),
        ("podMetricsEndpoints:", "podMetricEndpoints:"),
        ("topicName:", "topicname:"),
    ):
        assert right in text
        assert invalid(text.replace(right, wrong), KUBERNETES_VERSIONS[-1], say), right


def test_wrong_values_are_refused_with_a_clear_message(helm: Helm) -> None:
    for option, message in (
        ("services.collector.replicas=25", "24"),
        ("kafka.bootstrapServer=kafka:9092", "bootstrapServer"),
        ("database.port=none", "database/port|database.port"),
        ("ingress.enabled=true", "ingress"),
    ):
        done = helm.template("--set", option)
        assert done.returncode != 0, option
        assert re.search(message, done.stderr), done.stderr
    done = helm.template("--set", "strimzi.enabled=true")
    assert "set kafka.bootstrapServers to candlekeep-kafka-bootstrap:9092" in done.stderr


@EACH_SET
def test_every_service_is_deployed_and_every_job_runs_first(helm: Helm, name: str) -> None:
    rendered = helm.rendered(name)
    assert set(rendered.by_component("Deployment")) == set(SERVICES)
    jobs = {"roles", "migrate", "topics"}
    jobs -= {"roles"} if name == "external" else set()
    jobs -= {"topics"} if rendered.values["strimzi"]["enabled"] else set()
    found = rendered.by_component("Job")
    assert set(found) == jobs
    weights = {
        component: int(job["metadata"]["annotations"]["helm.sh/hook-weight"]) for component, job in found.items()
    }
    assert sorted(weights, key=lambda component: weights[component]) == [
        component for component in ("roles", "migrate", "topics") if component in jobs
    ]
    hooks = [each for each in rendered.objects if "helm.sh/hook" in each["metadata"].get("annotations", {})]
    assert {each["metadata"]["annotations"]["helm.sh/hook"] for each in hooks} == {"pre-install,pre-upgrade"}
    # A job starts when its account and its policy exist, so these are hooks that come first.
    names = {each["metadata"]["name"] for each in hooks if each["kind"] == "ServiceAccount"}
    assert names == {_pod(job)["serviceAccountName"] for job in found.values()}
    others = [each for each in hooks if each["kind"] != "Job"]
    assert all(int(each["metadata"]["annotations"]["helm.sh/hook-weight"]) < min(weights.values()) for each in others)
    policies = {component_of(each) for each in hooks if each["kind"] == "NetworkPolicy"}
    assert policies == (set(found) if rendered.values["networkPolicy"]["enabled"] else set())


def test_the_jobs_do_the_same_as_those_of_compose(helm: Helm) -> None:
    composed = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    for component, job in helm.rendered("default").by_component("Job").items():
        assert container_of(job)["command"] == composed[component]["command"]
        assert set(_environment(job)) - {"DATABASE_ROLE_PREFIX"} == set(composed[component]["environment"])


@EACH_SET
def test_every_process_has_no_rights_that_it_does_not_need(helm: Helm, name: str) -> None:
    rendered = helm.rendered(name)
    accounts = {each["metadata"]["name"]: each for each in rendered.of_kind("ServiceAccount")}
    for component, workload in rendered.workloads().items():
        pod, container = _pod(workload), container_of(workload)
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == security["runAsGroup"] == 65532
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["automountServiceAccountToken"] is False
        assert accounts[pod["serviceAccountName"]]["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod), component
        assert all(not {"hostPath", "persistentVolumeClaim"} & set(volume) for volume in pod["volumes"])
        writable = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
        assert writable == ["/tmp"]
    used = [_pod(each)["serviceAccountName"] for each in rendered.by_component("Deployment").values()]
    assert len(set(used)) == len(SERVICES)


@EACH_SET
def test_every_process_is_limited(helm: Helm, name: str) -> None:
    for workload in helm.rendered(name).workloads().values():
        resources = container_of(workload)["resources"]
        assert set(resources["requests"]) == {"cpu", "memory"}
        assert set(resources["limits"]) == {"memory"}
        [tmp] = [volume for volume in _pod(workload)["volumes"] if volume["name"] == "tmp"]
        assert tmp["emptyDir"]["sizeLimit"] == "64Mi"
    for job in helm.rendered(name).by_component("Job").values():
        assert job["spec"]["activeDeadlineSeconds"] >= 600
        assert job["spec"]["backoffLimit"] >= 1
        assert _pod(job)["restartPolicy"] == "Never"


@EACH_SET
def test_probes_ask_the_right_pages_at_the_right_port(helm: Helm, name: str) -> None:
    for component, deployment in helm.rendered(name).by_component("Deployment").items():
        container = container_of(deployment)
        [port] = container["ports"]
        assert (port["name"], port["containerPort"]) == ("http", PORTS[component])
        assert _environment(deployment)["HTTP_PORT"] == str(PORTS[component])
        assert _environment(deployment)["HTTP_HOST"] == "0.0.0.0"
        pages = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
        assert pages == {
            "startupProbe": {"path": "/health/live", "port": "http"},
            "livenessProbe": {"path": "/health/live", "port": "http"},
            "readinessProbe": {"path": "/health/ready", "port": "http"},
        }
        assert _seconds(container["startupProbe"]) == 120
        assert _seconds(container["livenessProbe"]) == 60
        assert _seconds(container["readinessProbe"]) == 15


@EACH_SET
def test_the_time_to_stop_adds_up(helm: Helm, name: str) -> None:
    """The kill comes after the wait of preStop, the work in flight, and the margin that the setting asks for."""
    for component, deployment in helm.rendered(name).by_component("Deployment").items():
        pod, container = _pod(deployment), container_of(deployment)
        before = container.get("lifecycle", {}).get("preStop", {"sleep": {"seconds": 0}})["sleep"]["seconds"]
        grace = int(_environment(deployment)["SHUTDOWN_GRACE_SECONDS"])
        assert pod["terminationGracePeriodSeconds"] >= before + grace + STOP_MARGIN, component
        assert (before > 0) == (component == "admin-api"), "only its requests come through a load balancer"
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def _known_variables(component: str) -> set[str]:
    if component in SERVICES:
        module = importlib.import_module(f"{component.replace('-', '_')}.settings")
        classes = [
            value for value in vars(module).values() if isinstance(value, type) and hasattr(value, "model_fields")
        ]
    else:
        classes = [KafkaSettings if component == "topics" else StoreSettings]
    settings = [setting for cls in classes for setting in list_settings(cls)]
    return {each.variable for each in settings} | {each.variable + SUFFIX for each in settings if each.secret}


@EACH_SET
def test_every_variable_is_a_setting_of_its_process(helm: Helm, name: str) -> None:
    rendered = helm.rendered(name)
    own = set(rendered.values["env"]) | {each + SUFFIX for each in rendered.values["secrets"]["extra"]}
    for component, workload in rendered.workloads().items():
        unknown = set(_environment(workload)) - _known_variables(component) - own
        assert unknown == set(), component


def test_settings_of_the_values_arrive(helm: Helm) -> None:
    found = {component: _environment(each) for component, each in helm.rendered("everything").workloads().items()}
    allowed = {component for component, variables in found.items() if variables.get("EXCHANGES_ALLOWED")}
    lanes = {component for component, variables in found.items() if variables.get("EXCHANGE_LANES") == '{"binance":2}'}
    assert allowed == {"admin-api", "collector"}
    assert lanes == {"admin-api", "scheduler", "backfiller"}
    assert found["collector"]["EXCHANGES_ALLOWED"] == "binance,kraken"
    levels = {component: found[component]["LOG_LEVEL"] for component in SERVICES}
    assert levels == {**dict.fromkeys(SERVICES, "DEBUG"), "admin-api": "INFO"}
    assert found["admin-api"]["SESSION_COOKIE_SECURE"] == "true"
    outside = {component: _environment(each) for component, each in helm.rendered("external").workloads().items()}
    assert {outside[component]["KAFKA_TOPIC_PREFIX"] for component in (*SERVICES, "topics")} == {"production."}


@EACH_SET
def test_every_service_and_no_job_sends_traces_if_there_is_an_endpoint(helm: Helm, name: str) -> None:
    rendered = helm.rendered(name)
    tracing = rendered.values["tracing"]
    variables = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER_ARG")
    found = {
        component: tuple(_environment(each)[variable] for variable in variables)
        for component, each in rendered.workloads().items()
        if set(variables) & set(_environment(each))
    }
    assert found == (
        dict.fromkeys(SERVICES, (tracing["endpoint"], str(tracing["share"]))) if tracing["endpoint"] else {}
    )
    assert bool(found) == (name == "everything")


@EACH_SET
def test_every_process_connects_to_the_database_with_its_own_role(helm: Helm, name: str) -> None:
    rendered = helm.rendered(name)
    database = rendered.values["database"]
    users = {}
    for component, workload in rendered.workloads().items():
        if url := _environment(workload).get("DATABASE_URL"):
            found = re.fullmatch(r"postgresql://(.+)@(.+):(\d+)/([^?]+)(?:\?(.+))?", url)
            assert found is not None, url
            users[component] = found[1]
            assert found.groups()[1:4] == (database["host"], str(database["port"]), database["name"])
            assert (found[5] or "") == database["parameters"]
            assert _environment(workload)["DATABASE_PASSWORD_FILE"]
    expected = {component: role_name(database["rolePrefix"], login) for component, login in LOGINS.items()}
    assert users.pop("roles", database["adminUser"]) == database["adminUser"]
    assert users == expected


def _secret_files(workload: Manifest) -> dict[str, tuple[str, str]]:
    """The Secret and its key behind each file that a process can read."""
    files = {}
    mounts = {mount["name"]: mount["mountPath"] for mount in container_of(workload)["volumeMounts"]}
    for volume in _pod(workload)["volumes"]:
        for source in volume.get("projected", {}).get("sources", []):
            for item in source["secret"]["items"]:
                files[f"{mounts[volume['name']]}/{item['path']}"] = (source["secret"]["name"], item["key"])
    return files


@EACH_SET
def test_secrets_are_files_and_each_process_gets_only_its_own(helm: Helm, name: str) -> None:
    rendered = helm.rendered(name)
    overrides, extra = rendered.values["secrets"]["overrides"], rendered.values["secrets"]["extra"]
    assert rendered.of_kind("Secret") == []
    composed = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    if rendered.values["notifications"]["enabled"]:
        overlay = yaml.safe_load((ROOT / "deploy/compose.notifications.yaml").read_text())["services"]["admin-api"]
        composed["admin-api"]["environment"] |= overlay["environment"]
    for component, workload in rendered.workloads().items():
        named = {
            key.removesuffix(SUFFIX): value for key, value in _environment(workload).items() if key.endswith(SUFFIX)
        }
        files = _secret_files(workload)
        assert set(named.values()) == set(files), component
        expected = {}
        for variable, path in composed[component]["environment"].items():
            if variable.endswith(SUFFIX):
                key = Path(path).name
                other = overrides.get(key, {"secret": rendered.values["secrets"]["existingSecret"], "key": key})
                expected[variable.removesuffix(SUFFIX)] = (other["secret"], other["key"])
        expected |= {variable: (source["secret"], source["key"]) for variable, source in extra.items()}
        assert {variable: files[path] for variable, path in named.items()} == expected, component


@EACH_SET
def test_selectors_match_exactly_the_pods_of_their_component(helm: Helm, name: str) -> None:
    rendered = helm.rendered(name)
    selectors: list[tuple[str, dict[str, str]]] = []
    for kind in ("Deployment", "PodDisruptionBudget"):
        found = rendered.by_component(kind)
        selectors += [(component, each["spec"]["selector"]["matchLabels"]) for component, each in found.items()]
    [service] = rendered.of_kind("Service")
    selectors.append((component_of(service), service["spec"]["selector"]))
    for component, deployment in rendered.by_component("Deployment").items():
        spread = _pod(deployment).get("topologySpreadConstraints") or []
        selectors += [(component, each["labelSelector"]["matchLabels"]) for each in spread]
        assert [each["topologyKey"] for each in spread] == rendered.values["topologyKeys"]
    for component, selector in selectors:
        matched = {each for each, workload in rendered.workloads().items() if selects(selector, workload)}
        assert matched == {component}
    budgets = set(rendered.by_component("PodDisruptionBudget"))
    assert budgets == (set(SERVICES) if rendered.values["podDisruptionBudgets"]["enabled"] else set())
    assert all(each["spec"]["maxUnavailable"] == 1 for each in rendered.of_kind("PodDisruptionBudget"))


@EACH_SET
def test_names_are_unique_and_labels_complete(helm: Helm, name: str) -> None:
    rendered: Rendered = helm.rendered(name)
    identities = [(each["kind"], each["metadata"]["name"]) for each in rendered.objects]
    assert len(set(identities)) == len(identities)
    for each in rendered.objects:
        assert {"app.kubernetes.io/name", "app.kubernetes.io/instance", "helm.sh/chart"} <= set(
            each["metadata"]["labels"]
        )
        assert len(each["metadata"]["name"]) <= 63
