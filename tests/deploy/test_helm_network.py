"""The network policies of the Helm chart allow exactly the arrows of the architecture.

The table of arrows is independent of the templates. The policies are evaluated as Kubernetes does: a connection needs
the policies of its source and those of its destination.
"""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.deploying.chart import NAMESPACE, Helm, Manifest, Rendered, component_of
from support.deploying.deployment import SERVICES

# The first test waits until Go has built helm and kubeconform.
pytestmark = pytest.mark.timeout(2400)
PORTS = {name: 8000 + number for number, name in enumerate(SERVICES)}
WORKERS = set(SERVICES) - {"admin-api"}
DATABASE_CLIENTS = {"admin-api", "log-writer", "candle-writer", "backfiller", "roles", "migrate"}
KAFKA_CLIENTS = {*SERVICES, "topics"}
JOBS = {"roles", "migrate", "topics"}
SETS = ("default", "external", "everything")


@dataclass(frozen=True)
class Endpoint:
    """A pod or an address. Pods have a namespace and labels."""

    name: str
    address: str
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)


def _pods(rendered: Rendered) -> list[Endpoint]:
    workloads = rendered.workloads()
    return [
        Endpoint(name, f"10.0.1.{number}", NAMESPACE, workload["spec"]["template"]["metadata"]["labels"])
        for number, (name, workload) in enumerate(workloads.items(), start=1)
    ]


OTHERS = {
    "dns": Endpoint("dns", "10.0.0.10", "kube-system", {"k8s-app": "kube-dns"}),
    "prometheus": Endpoint("prometheus", "10.0.0.11", "monitoring"),
    "ingress": Endpoint("ingress", "10.0.0.12", "ingress-nginx"),
    "stranger": Endpoint("stranger", "10.0.0.13", "other"),
    "neighbour": Endpoint("neighbour", "10.0.0.14", NAMESPACE, {"app": "neighbour"}),
    "kubernetes": Endpoint("kubernetes", "10.96.0.1"),
    "metadata": Endpoint("metadata", "169.254.169.254"),
    "exchange": Endpoint("exchange", "93.184.216.34"),
    "exchange-6": Endpoint("exchange-6", "2606:2800:220:1::1"),
    "private-6": Endpoint("private-6", "fd00::1"),
}
KAFKA = {
    "default": (Endpoint("kafka", "10.0.2.1", "data"), (9092,)),
    "external": (Endpoint("kafka", "203.0.113.5"), (9094, 9095, 9096)),
    "everything": (Endpoint("kafka", "10.0.2.1", NAMESPACE, {"strimzi.io/cluster": "candlekeep"}), (9092,)),
}
POSTGRES = {
    "default": (Endpoint("postgres", "10.0.2.2", "data"), 5432),
    "external": (Endpoint("postgres", "203.0.113.32"), 6432),
    "everything": (Endpoint("postgres", "10.0.2.2", NAMESPACE, {"cnpg.io/cluster": "candlekeep-db"}), 5432),
}
TRACES = Endpoint("traces", "10.0.2.3", "observability")
PROBED = (53, 80, 443, 587, 4318, 5432, 6432, 9090, 9092, 9093, 9094, 9095, 9096, *PORTS.values())


def _arrows(rendered: Rendered) -> set[tuple[str, str, int]]:
    """All connections from or to the pods of the chart that are allowed: source, destination and port (TCP)."""
    name = rendered.name
    processes = set(rendered.workloads())
    arrows = {(process, "dns", 53) for process in processes}
    arrows |= {(process, "kafka", port) for process in KAFKA_CLIENTS & processes for port in KAFKA[name][1]}
    arrows |= {(process, "postgres", POSTGRES[name][1]) for process in DATABASE_CLIENTS & processes}
    public = {"exchange", "exchange-6"} | ({"kafka", "postgres"} if name == "external" else set())
    arrows |= {("collector", destination, 443) for destination in public}
    arrows |= {("prometheus", service, PORTS[service]) for service in SERVICES}
    clients = {"ingress"} if name == "everything" else {"ingress", "stranger", "neighbour", "prometheus"}
    if name == "default":
        # Every pod of the cluster may be a broker or a server of Postgres, as the value `peers` says.
        pods = {"prometheus", "ingress", "stranger", "neighbour", "dns", "kafka", "postgres"}
        arrows |= {(process, pod, 9092) for process in KAFKA_CLIENTS & processes for pod in pods}
        arrows |= {(process, pod, 5432) for process in DATABASE_CLIENTS & processes for pod in pods}
    if name in {"default", "external"}:
        clients |= {"dns"} | ({"kafka", "postgres"} if name == "default" else set())
    if name == "everything":
        arrows.add(("admin-api", "identity-provider", 443))
        arrows.add(("collector", "identity-provider", 443))  # it is a public address
        arrows |= {(service, "traces", 4318) for service in SERVICES}
        receivers = public | {"identity-provider"}
        arrows |= {("admin-api", receiver, port) for receiver in receivers for port in (443, 587)}
    return arrows | {(client, "admin-api", 8000) for client in clients}


def _matches_labels(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def _matches_peer(peer: dict[str, Any], endpoint: Endpoint) -> bool:
    if block := peer.get("ipBlock"):
        address = ipaddress.ip_address(endpoint.address)
        inside = address in ipaddress.ip_network(block["cidr"])
        return inside and not any(address in ipaddress.ip_network(each) for each in block.get("except", []))
    if not endpoint.namespace:
        return False
    if "namespaceSelector" in peer:
        labels = {"kubernetes.io/metadata.name": endpoint.namespace}
        if not _matches_labels(peer["namespaceSelector"], labels):
            return False
    elif endpoint.namespace != NAMESPACE:
        return False
    return _matches_labels(peer.get("podSelector", {}), endpoint.labels)


def _allows(rules: list[dict[str, Any]], side: str, endpoint: Endpoint, protocol: str, port: int) -> bool:
    """A rule without peers allows all peers, and one without ports all ports."""
    for rule in rules:
        peers, ports = rule.get(side), rule.get("ports")
        right_peer = not peers or any(_matches_peer(peer, endpoint) for peer in peers)
        if right_peer and (not ports or any((each["protocol"], each["port"]) == (protocol, port) for each in ports)):
            return True
    return False


def _is_open(
    policies: list[Manifest], source: Endpoint, destination: Endpoint, port: int, protocol: str = "TCP"
) -> bool:
    for direction, subject, other, side in (
        ("Egress", source, destination, "to"),
        ("Ingress", destination, source, "from"),
    ):
        mine = [
            each["spec"]
            for each in policies
            if subject.namespace == NAMESPACE
            and direction in each["spec"]["policyTypes"]
            and _matches_labels(each["spec"]["podSelector"], subject.labels)
        ]
        rules = [rule for spec in mine for rule in spec.get(direction.lower(), [])]
        if mine and not _allows(rules, side, other, protocol, port):
            return False
    return True


@pytest.mark.parametrize("name", SETS)
def test_exactly_the_arrows_of_the_architecture_are_open(helm: Helm, name: str) -> None:
    rendered = helm.rendered(name)
    pods = _pods(rendered)
    others = [*OTHERS.values(), KAFKA[name][0], POSTGRES[name][0]]
    if name == "everything":
        others += [Endpoint("identity-provider", "198.51.100.7"), TRACES]
    policies = rendered.of_kind("NetworkPolicy")
    found = {
        (source.name, destination.name, port)
        for source in (*pods, *others)
        for destination in (*pods, *others)
        for port in PROBED
        if source is not destination
        and (source in pods or destination in pods)
        and _is_open(policies, source, destination, port)
    }
    expected = _arrows(rendered)
    assert (sorted(found - expected), sorted(expected - found)) == ([], [])


@pytest.mark.parametrize("name", SETS)
def test_names_are_resolved_over_udp_and_nothing_else_is(helm: Helm, name: str) -> None:
    rendered = helm.rendered(name)
    policies = rendered.of_kind("NetworkPolicy")
    for pod in _pods(rendered):
        targets = {
            (each.name, port)
            for each in [*OTHERS.values(), KAFKA[name][0]]
            for port in PROBED
            if _is_open(policies, pod, each, port, "UDP")
        }
        assert targets == {("dns", 53)}, pod.name


@pytest.mark.parametrize("name", SETS)
def test_every_pod_is_denied_by_default(helm: Helm, name: str) -> None:
    """The policy without a component also covers pods of components that have no policy of their own."""
    rendered = helm.rendered(name)
    [deny] = [each for each in rendered.of_kind("NetworkPolicy") if not component_of(each)]
    assert deny["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & set(deny["spec"])
    for pod in _pods(rendered):
        assert _matches_labels(deny["spec"]["podSelector"], pod.labels)
    neighbour = OTHERS["neighbour"]
    assert not _matches_labels(deny["spec"]["podSelector"], neighbour.labels)
    assert {component_of(each) for each in rendered.of_kind("NetworkPolicy")} - {""} == set(rendered.workloads())


def test_only_the_collector_reaches_the_outside(helm: Helm) -> None:
    """All its rules with addresses exclude those of the cluster, of the host and of the cloud's metadata."""
    rendered = helm.rendered("default")
    policies = rendered.of_kind("NetworkPolicy")
    outside = [Endpoint(address, address) for address in ("1.1.1.1", "2606:4700::1111")]
    inside = [
        Endpoint(address, address)
        for address in (
            *("10.1.2.3", "172.20.0.1", "192.168.1.1", "169.254.169.254", "169.254.170.2", "100.100.100.200"),
            *("127.0.0.1", "0.0.0.0", "224.0.0.1", "::1", "fe80::1", "fd00:ec2::254", "ff02::1"),
        )
    ]
    for pod in _pods(rendered):
        reached = {each.name for each in outside if _is_open(policies, pod, each, 443)}
        assert reached == ({each.name for each in outside} if pod.name == "collector" else set()), pod.name
        assert not [each.name for each in inside for port in (80, 443, 8000) if _is_open(policies, pod, each, port)]


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("http://tempo.data:4318", 4318),
        ("https://traces.example.com", 443),
        ("http://tempo.data/otlp", 80),
        ("https://[fd00::1]:8443/api/otlp", 8443),
    ],
)
def test_the_port_of_the_endpoint_for_traces_is_that_of_its_address(
    helm: Helm, tmp_path: Path, address: str, port: int
) -> None:
    values = {"tracing": {"endpoint": address, "peers": [{"ipBlock": {"cidr": "203.0.113.64/32"}}]}}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    rendered = helm.rendered_with("default", tmp_path / "values.yaml", values)
    policies = rendered.of_kind("NetworkPolicy")
    endpoint = Endpoint("traces", "203.0.113.64")
    reached = {
        (pod.name, each)
        for pod in _pods(rendered)
        for each in (80, 4318, 8443, port)
        if _is_open(policies, pod, endpoint, each)
    }
    assert reached == {(service, port) for service in SERVICES}


def test_without_network_policies_there_are_none(helm: Helm) -> None:
    assert helm.rendered("minimal").of_kind("NetworkPolicy") == []
