"""A running deployment: its limits, its networks, its work, and its end. The tests run in this order."""

import os
import re
import signal
from datetime import datetime
from typing import Any

import httpx
import pytest

from support.deploying.deployment import JOBS, SERVICES, SIMULATOR, Container, Deployment
from support.deploying.limits import assert_no_needless_rights, open_addresses
from support.deploying.report import say
from support.polling import eventually

PORTS = {"kafka": (9092, 9093), "postgres": (5432,), "prometheus": (9090,)} | {
    name: (8000 + number,) for number, name in enumerate(SERVICES)
}
START_SECONDS = 3.0
LOOP_SECONDS = 0.5
"""Processor time of the loop of `_SPEED` on a fast machine. On a slower one, a start may take longer in proportion."""
_SPEED = "import time; all(True for _ in range(10**7)); print(time.process_time())"


def _seconds(time: str) -> float:
    """Since the epoch. The engine writes nanoseconds, which Python 3.11 does not read."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", time)).timestamp()


async def _start_of(deployment: Deployment, service: str) -> tuple[float, float]:
    """Restarts a service. Returns the seconds until it accepts requests, and the processor time that it used."""
    deployment.docker.run("restart", deployment.container(service).id, seconds=120)
    state = deployment.container(service).state

    def accepted() -> str | None:
        lines = deployment.logs(service, "--timestamps", "--since", state["StartedAt"]).splitlines()
        return next((line for line in lines if "http_up" in line or " at http://" in line), None)

    line = await eventually(accepted, within=60, every=0.3)
    at, named = line.split()[0], re.search(r'"processor_seconds": ?([\d.]+)', line)
    if named is not None:  # the simulator has no such log
        processor = float(named[1])
    else:
        fields = deployment.execute(service, "cat", "/proc/1/stat").rpartition(")")[2].split()
        processor = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return _seconds(at) - _seconds(state["StartedAt"]), processor


def _slowness(deployment: Deployment, service: str) -> float:
    """How many times slower the machine is now; at least 1. Neighbours on a processor slow down its work."""
    return max(1.0, float(deployment.execute(service, "python", "-c", _SPEED)) / LOOP_SECONDS)


def _running(deployment: Deployment) -> list[Container]:
    return [container for container in deployment.containers() if container.service not in JOBS]


def test_all_containers_are_healthy_and_all_jobs_succeeded(deployment: Deployment) -> None:
    assert {container.service for container in _running(deployment)} == {*PORTS, SIMULATOR}
    assert all(container.is_healthy for container in _running(deployment))
    assert [job.state["ExitCode"] for job in deployment.containers(*JOBS)] == [0, 0, 0]


@pytest.mark.parametrize("service", [*PORTS, SIMULATOR])
def test_a_process_has_no_rights_that_it_does_not_need(deployment: Deployment, service: str) -> None:
    assert_no_needless_rights(deployment, service)


def test_the_collector_reaches_kafka_and_no_other_container(deployment: Deployment) -> None:
    assert open_addresses(deployment, "collector", PORTS) == {"kafka:9092"}


def test_only_clients_of_the_database_reach_it(deployment: Deployment) -> None:
    """The second service shows that the first result can differ."""
    assert "postgres:5432" not in open_addresses(deployment, "scheduler", PORTS)
    assert "postgres:5432" in open_addresses(deployment, "candle-writer", PORTS)


def test_no_secret_is_in_the_description_of_a_container(deployment: Deployment) -> None:
    secrets = {path.read_text() for path in deployment.secrets.iterdir()}
    description = str([container.description for container in deployment.containers()])
    assert not [secret for secret in secrets if secret in description]


async def _runs(api: httpx.AsyncClient, symbol: str) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = (await api.get("/execution-logs", params={"symbol": symbol})).raise_for_status().json()
    return runs


async def _succeeded(api: httpx.AsyncClient, symbol: str, number: int, within: float) -> None:
    async def enough() -> bool:
        return sum(run["status"] == "success" for run in await _runs(api, symbol)) >= number

    await eventually(enough, within=within, every=0.5)


async def test_a_new_config_is_collected_at_once(deployment: Deployment) -> None:
    body = {"symbol": "BTC/USDT", "exchange": "binance", "timeframes": ["1m"], "interval_minutes": 1}
    async with deployment.api() as api:
        response = await api.post("/configs", json=body)
        assert response.status_code == 201, response.text
        await _succeeded(api, "BTC/USDT", 1, within=60)
        series = {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m", "limit": 5}

        async def candles() -> list[dict[str, Any]]:
            return list((await api.get("/candles", params=series)).raise_for_status().json())

        assert len(await eventually(candles, within=30, every=0.5)) == 5


async def test_a_browser_gets_the_dashboard(deployment: Deployment) -> None:
    async with deployment.api() as api:
        page = await api.get(str(api.base_url.copy_with(path="/")), headers={"Accept": "text/html"})
        [script] = re.findall(r'src="(/assets/index-[^"]+)"', page.text)
        assert (await api.get(str(api.base_url.copy_with(path=script)))).status_code == 200


async def test_a_killed_collector_comes_back_and_collects(deployment: Deployment) -> None:
    """`docker kill` counts as a wish to stop it, after which the engine does not start it again."""
    before = deployment.container("collector")
    os.kill(before.state["Pid"], signal.SIGKILL)

    def is_back() -> bool:
        now = deployment.container("collector")
        return now.description["RestartCount"] == 1 and now.is_healthy

    await eventually(is_back, within=120, every=0.5)
    async with deployment.api() as api:
        done = sum(run["status"] == "success" for run in await _runs(api, "BTC/USDT"))
        [config] = (await api.get("/configs")).raise_for_status().json()
        assert (await api.post(f"/configs/{config['id']}/trigger")).status_code == 202
        await _succeeded(api, "BTC/USDT", done + 1, within=90)


async def test_prometheus_scrapes_every_service(deployment: Deployment) -> None:
    async def up() -> bool:
        address = f"http://127.0.0.1:{deployment.prometheus_port}/api/v1/query"
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            answer = (await client.get(address, params={"query": "up"})).raise_for_status().json()
        found = {series["metric"]["service"]: series["value"][1] for series in answer["data"]["result"]}
        assert found == dict.fromkeys(SERVICES, "1")
        return True

    await eventually(up, within=60, every=1)


@pytest.mark.parametrize("service", [*SERVICES, SIMULATOR])
async def test_a_service_starts_within_three_seconds(deployment: Deployment, service: str) -> None:
    """On a busy machine a start takes longer, so the processor time is the measure there."""
    slowness = _slowness(deployment, service)
    seconds, processor = await _start_of(deployment, service)
    slowness = max(slowness, _slowness(deployment, service))
    is_busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    note = " on a busy machine" if is_busy else ""
    say(f"start of {service}: {seconds:.1f} s{note}, {processor:.1f} s of processor time, slowness {slowness:.1f}")
    assert processor < START_SECONDS * slowness
    assert is_busy or seconds < START_SECONDS * slowness


def test_down_leaves_nothing(deployment: Deployment) -> None:
    assert all(deployment.leftovers().values())
    deployment.down()
    assert deployment.leftovers() == {"containers": [], "volumes": [], "networks": []}
