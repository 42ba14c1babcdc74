"""The chart's workloads really run, as pods of podman with the images of this test."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from local_stack.api_client import client
from support.deploying.chart import Helm, Manifest, Rendered, container_of
from support.deploying.deployment import DEPLOY, JOBS, SERVICES, SIMULATOR
from support.deploying.engine import Docker, run
from support.deploying.podman import Pod, Podman
from support.deploying.report import say
from support.polling import eventually

COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SIMULATED = yaml.safe_load((DEPLOY / "compose.simulator.yaml").read_text())["services"]


@dataclass(frozen=True)
class Pods:
    podman: Podman
    rendered: Rendered
    pods: Mapping[str, Pod]
    token: str

    def container(self, component: str) -> Manifest:
        return container_of(self.rendered.workloads()[component])

    def url(self, component: str) -> str:
        [port] = self.container(component)["ports"]
        return f"http://{self.podman.address(self.pods[component])}:{port['containerPort']}"


@pytest.fixture(scope="module")
def pods(
    helm: Helm, engine: Docker, images: dict[str, str], podman: Podman, tmp_path_factory: pytest.TempPathFactory
) -> Pods:
    folder = tmp_path_factory.mktemp("pods")
    run((str(DEPLOY / "make-secrets"), str(folder)), environment=engine.environment, seconds=30)
    secrets = {path.name: path.read_text() for path in folder.iterdir()}
    rendered = render(helm, images, folder)
    start_others(podman, images, folder)
    started = {}
    for component, workload in in_order(rendered):
        started[component] = podman.play(workload, secrets)
        if workload["kind"] == "Job":
            status = podman.ended(started[component], within=180)
            assert status == 0, podman.logs(started[component].container)
    return Pods(podman, rendered, started, secrets["admin_token"])


def render(helm: Helm, images: Mapping[str, str], folder: Path) -> Rendered:
    """The chart with the smallest set of values, the images of this test, and the simulator."""
    values = {
        "image": {"prefix": images["IMAGE_PREFIX"], "tag": images["IMAGE_TAG"], "pullPolicy": "Never"},
        "kafka": {"bootstrapServers": "kafka:9092"},
        "database": {"host": "postgres", "adminUser": "candlekeep"},
        "services": {name: {"env": SIMULATED[name]["environment"]} for name in ("admin-api", "collector")},
    }
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    return helm.rendered_with("minimal", folder / "values.yaml", values)


def in_order(rendered: Rendered) -> list[tuple[str, Manifest]]:
    """The jobs in the order of their hooks, then the deployments."""
    jobs, deployments = rendered.by_component("Job"), rendered.by_component("Deployment")
    assert set(jobs) == set(JOBS)
    assert set(deployments) == set(SERVICES)
    weight = "helm.sh/hook-weight"
    ordered = sorted(jobs.items(), key=lambda each: int(each[1]["metadata"]["annotations"].get(weight, 0)))
    return [*ordered, *deployments.items()]


def start_others(podman: Podman, images: Mapping[str, str], secrets: Path) -> None:
    kafka, postgres = (COMPOSE["services"][name]["environment"] for name in ("kafka", "postgres"))
    podman.start("kafka", images["KAFKA_IMAGE"], variables=kafka)
    password = {secrets / "postgres_password": postgres["POSTGRES_PASSWORD_FILE"]}
    [_, data] = COMPOSE["services"]["postgres"]["volumes"][0].split(":")
    podman.start("postgres", images["POSTGRES_IMAGE"], variables=postgres, files=password, memory=data)
    for name in ("postgres", "kafka"):
        podman.wait_for(name, *COMPOSE["services"][name]["healthcheck"]["test"][1:])
    simulator = f"{images['IMAGE_PREFIX']}{SIMULATOR}:{images['IMAGE_TAG']}"
    podman.start(SIMULATOR, simulator, *SIMULATED[SIMULATOR]["command"])


async def get(url: str) -> int:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        try:
            return (await client.get(url)).status_code
        except httpx.TransportError:
            return 0


@pytest.mark.parametrize("component", SERVICES)
@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
async def test_each_probe_of_a_pod_is_answered(pods: Pods, component: str, probe: str) -> None:
    url = pods.url(component) + pods.container(component)[probe]["httpGet"]["path"]

    async def ready() -> bool:
        return await get(url) == 200

    try:
        await eventually(ready, within=120, every=0.5)
    except AssertionError:
        say(pods.podman.logs(pods.pods[component].container)[-3000:])
        raise


@pytest.mark.parametrize("component", SERVICES)
def test_a_pod_has_the_rights_and_limits_of_the_chart(pods: Pods, component: str) -> None:
    lines = pods.podman.execute(pods.pods[component], "cat", "/proc/1/status").splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    security = pods.rendered.workloads()[component]["spec"]["template"]["spec"]["securityContext"]
    assert status["Uid"] == [str(security["runAsUser"])] * 4
    assert {*status["CapEff"], *status["CapPrm"], *status["CapBnd"]} == {"0" * 16}
    assert status["NoNewPrivs"] == ["1"]
    mounts = [line.split() for line in pods.podman.execute(pods.pods[component], "cat", "/proc/mounts").splitlines()]
    [root] = [options.split(",") for _, path, _, options, *_ in mounts if path == "/"]
    assert "ro" in root
    memory = pods.container(component)["resources"]["limits"]["memory"]
    mebibytes = int(memory[:-2]) * {"Mi": 1, "Gi": 1024}[memory[-2:]]
    description = pods.podman.description(pods.pods[component].container)
    assert description["HostConfig"]["Memory"] == mebibytes * 1024**2


async def test_pods_collect_a_new_config(pods: Pods) -> None:
    async with client(pods.url("admin-api"), pods.token) as api:
        body = {"symbol": "BTC/USDT", "exchange": "binance", "timeframes": ["1m"], "interval_minutes": 1}
        response = await api.post("/configs", json=body)
        assert response.status_code == 201, response.text

        async def success() -> bool:
            runs: list[dict[str, Any]] = (await api.get("/execution-logs")).raise_for_status().json()
            return any(run["status"] == "success" for run in runs)

        await eventually(success, within=120, every=0.5)
        series = {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m", "limit": 5}

        async def candles() -> bool:
            return len((await api.get("/candles", params=series)).raise_for_status().json()) == 5

        await eventually(candles, within=60, every=0.5)


@pytest.mark.parametrize("component", SERVICES)
def test_a_pod_ends_in_its_grace_period(pods: Pods, component: str) -> None:
    """The last tests, because they stop the pods."""
    pod = pods.pods[component]
    grace = pods.rendered.workloads()[component]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    pods.podman.run("stop", "--time", str(grace), pod.container, seconds=grace + 60)
    assert pods.podman.ended(pod, within=10) == 0, pods.podman.logs(pod.container)[-3000:]
