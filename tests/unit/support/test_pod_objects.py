"""The pods of the tests, made from workloads of the chart."""

from typing import Any

from support.deploying.podman import pod_objects

WORKLOAD: dict[str, Any] = {
    "metadata": {"labels": {"app.kubernetes.io/component": "admin-api"}},
    "spec": {
        "template": {
            "metadata": {"labels": {}},
            "spec": {
                "containers": [
                    {
                        "name": "admin-api",
                        "ports": [{"name": "http", "containerPort": 8000}],
                        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
                    }
                ]
            },
        }
    },
}


def test_a_pod_probes_its_port_but_takes_no_port_of_this_machine() -> None:
    [pod], _ = pod_objects(WORKLOAD, {}, "test")
    [container] = pod["spec"]["containers"]
    assert container == {"name": "admin-api", "readinessProbe": {"httpGet": {"path": "/ready", "port": 8000}}}
