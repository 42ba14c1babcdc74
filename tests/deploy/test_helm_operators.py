"""The objects of the Helm chart for scaling, ingress, Prometheus, Grafana, Strimzi and CloudNativePG."""

import shutil
from pathlib import Path

import pytest
import yaml

from contracts.topics import ALL_TOPICS
from support.deploying.chart import CHART, VALUE_SETS, Helm, selects
from support.deploying.deployment import SERVICES
from support.deploying.images import ROOT

# The first test waits until Go has built helm and kubeconform.
pytestmark = pytest.mark.timeout(2400)
SHARED_TOPICS = {"collector": "ticks", "log-writer": "run-events", "candle-writer": "candles"}
EACH_SET = pytest.mark.parametrize("name", VALUE_SETS)


@EACH_SET
def test_scaling_stays_within_the_partitions(helm: Helm, name: str) -> None:
    rendered = helm.rendered(name)
    partitions = {topic.name: topic.partitions for topic in ALL_TOPICS}
    deployments = rendered.by_component("Deployment")
    for component, scaled in rendered.by_component("ScaledObject").items():
        spec = scaled["spec"]
        assert spec["scaleTargetRef"]["name"] == deployments[component]["metadata"]["name"]
        [trigger] = spec["triggers"]
        topic = SHARED_TOPICS[component]
        assert (trigger["metadata"]["topic"], trigger["metadata"]["consumerGroup"]) == (topic, component)
        assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"] <= partitions[topic]
    scalers = set(rendered.by_component("ScaledObject")) | set(rendered.by_component("HorizontalPodAutoscaler"))
    assert scalers == ({*SHARED_TOPICS, "admin-api"} if name == "everything" else set())
    # With both, each upgrade would set the number of pods back.
    assert {component for component, each in deployments.items() if "replicas" not in each["spec"]} == scalers


def test_ingress_serves_the_api_over_tls_only(helm: Helm) -> None:
    rendered = helm.rendered("everything")
    [ingress], [service] = rendered.of_kind("Ingress"), rendered.of_kind("Service")
    [rule], [tls] = ingress["spec"]["rules"], ingress["spec"]["tls"]
    assert tls == {"hosts": [rule["host"]], "secretName": "candlekeep-tls"}
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == service["metadata"]["name"]
    assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    assert not any(helm.rendered(name).of_kind("Ingress") for name in VALUE_SETS if name != "everything")


def test_prometheus_gets_the_labels_that_the_alerts_use(helm: Helm) -> None:
    rendered = helm.rendered("everything")
    [monitor] = rendered.of_kind("PodMonitor")
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    label = "__meta_kubernetes_pod_label_app_kubernetes_io_component"
    assert endpoint["relabelings"] == [
        {"action": "replace", "targetLabel": "job", "replacement": "candlekeep"},
        {"action": "replace", "sourceLabels": [label], "targetLabel": "service"},
    ]
    selector = monitor["spec"]["selector"]
    [expression] = selector["matchExpressions"]
    assert (expression["operator"], set(expression["values"])) == ("In", set(SERVICES))
    assert all(selects(selector["matchLabels"], each) for each in rendered.by_component("Deployment").values())


def test_the_rules_and_dashboards_arrive_unchanged(helm: Helm) -> None:
    rendered = helm.rendered("everything")
    written = [group for each in rendered.of_kind("PrometheusRule") for group in each["spec"]["groups"]]
    files = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "deploy/prometheus").glob("*.y*ml"))]
    expected = [group for file in files if "groups" in file for group in file["groups"]]
    assert expected
    assert written == expected
    dashboards = {key: text for each in rendered.of_kind("ConfigMap") for key, text in each["data"].items()}
    sources = (ROOT / "deploy/grafana/dashboards").glob("*.json")
    assert dashboards == {f"candlekeep-{path.name}": path.read_text() for path in sources}


def test_strimzi_creates_the_topics_that_the_services_expect(helm: Helm) -> None:
    rendered = helm.rendered("everything")
    topics = {each["spec"]["topicName"]: each["spec"] for each in rendered.of_kind("KafkaTopic")}
    assert {name: spec["partitions"] for name, spec in topics.items()} == {
        topic.name: topic.partitions for topic in ALL_TOPICS
    }
    assert {(spec["replicas"], spec["config"]["min.insync.replicas"]) for spec in topics.values()} == {(3, "2")}
    [kafka], [pool] = rendered.of_kind("Kafka"), rendered.of_kind("KafkaNodePool")
    cluster = kafka["metadata"]["name"]
    assert kafka["spec"]["kafka"]["config"]["auto.create.topics.enable"] is False
    named = {each["metadata"]["labels"]["strimzi.io/cluster"] for each in [pool, *rendered.of_kind("KafkaTopic")]}
    assert named == {cluster}
    assert rendered.values["kafka"]["bootstrapServers"] == f"{cluster}-kafka-bootstrap:9092"


def test_the_example_of_postgres_fits_the_values(helm: Helm) -> None:
    cluster = yaml.safe_load((CHART / "examples/cloudnative-pg.yaml").read_text())
    values = helm.rendered("everything").values
    name = cluster["metadata"]["name"]
    assert values["database"]["host"] == f"{name}-rw"
    assert values["secrets"]["overrides"]["postgres_password"]["secret"] == f"{name}-superuser"
    assert cluster["spec"]["enableSuperuserAccess"] is True
    assert cluster["spec"]["bootstrap"]["initdb"]["database"] == values["database"]["name"]
    [peer] = values["database"]["peers"]
    assert peer["podSelector"]["matchLabels"] == {"cnpg.io/cluster": name}


def test_the_notes_say_how_to_sign_in(helm: Helm, tmp_path: Path) -> None:
    """Helm prints the notes after an installation in a cluster only, so here an object contains them."""
    chart = shutil.copytree(CHART, tmp_path / "chart")
    (chart / "templates/NOTES.txt").rename(chart / "NOTES.txt")
    template = 'apiVersion: v1\nkind: ConfigMap\ndata: {notes: {{ tpl (.Files.Get "NOTES.txt") . | toJson }}}\n'
    (chart / "templates/notes.yaml").write_text(template)
    values = str(CHART / "ci/existing-secrets-values.yaml")
    done = helm.run("template", "candlekeep", str(chart), "--show-only", "templates/notes.yaml", "--values", values)
    assert done.returncode == 0, done.stderr
    notes = yaml.safe_load(done.stdout)["data"]["notes"]
    assert "port-forward service/candlekeep-admin-api 8000:80" in notes
    assert "get secret candlekeep-admin" in notes
    assert '{{index .data "token" | base64decode}}' in notes
    assert "WARNING: image.prefix is localhost/candlekeep/" in notes
