"""The overlay with TLS in front: nginx, the API, and the database that it needs."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from local_stack.ports import free_port
from support.certificates import Authority
from support.deploying.compose_command import compose_command
from support.deploying.deployment import DEPLOY, Deployment, remove
from support.deploying.engine import Docker

API = "/api/v1/admin/data-collection"


@dataclass(frozen=True)
class Fronted:
    deployment: Deployment
    url: str
    authority: Path

    def client(self) -> httpx.Client:
        token = (self.deployment.secrets / "admin_token").read_text()
        context = ssl.create_default_context(cafile=str(self.authority))
        return httpx.Client(base_url=self.url, verify=context, headers={"Authorization": f"Bearer {token}"}, timeout=30)


@pytest.fixture(scope="module")
def fronted(engine: Docker, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder / "authority", "authority")
    identity = authority.issue("localhost")
    served = folder / "served"
    served.mkdir()
    for source, name in ((identity.certificate, "certificate.pem"), (identity.key, "key.pem")):
        (served / name).write_bytes(source.read_bytes())
    port = free_port()
    variables = images | {
        "TLS_FOLDER": str(served),
        "TLS_ADDRESS": "127.0.0.1",
        "TLS_PORT": str(port),
        "PROXIED_SUBNET": "172.31.253.16/29",
    }
    deployment = Deployment(engine, compose_command(engine), variables, folder, overlays=(DEPLOY / "compose.tls.yaml",))
    try:
        deployment.compose("up", "--detach", "--wait", "proxy", seconds=400)
        yield Fronted(deployment, f"https://localhost:{port}", authority.file)
    finally:
        remove(deployment)


def test_the_api_answers_over_tls_only(fronted: Fronted) -> None:
    with fronted.client() as client:
        answer = client.get(f"{API}/me")
        assert (answer.status_code, answer.json()["role"]) == (200, "admin")
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert client.get("/metrics").status_code == 404
    assert httpx.get(fronted.url.replace("https://", "http://"), timeout=30).status_code == 400


def test_sessions_are_secure_and_callers_cannot_choose_their_address(fronted: Fronted) -> None:
    with fronted.client() as client:
        opened = client.post(f"{API}/sessions", headers={"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"})
        assert opened.status_code == 201, opened.text
        cookie = opened.headers["set-cookie"]
        assert cookie.startswith("__Host-candlekeep=")
        assert "; Secure" in cookie
        wrong = {"Authorization": "Bearer of-nothing-at-all", "X-Forwarded-For": "203.0.113.9"}
        assert client.get(f"{API}/me", headers=wrong).status_code == 401
        addresses = {entry["address"] for entry in client.get(f"{API}/audit-log").json()} - {None}
    assert len(addresses) == 1, addresses
    assert not addresses & {"203.0.113.9", *fronted.deployment.addresses("proxy")}


def test_the_proxy_has_no_rights(fronted: Fronted) -> None:
    described = fronted.deployment.container("proxy").description
    assert described["Config"]["User"] == "101"
    assert described["HostConfig"]["ReadonlyRootfs"] is True
    assert described["HostConfig"]["CapDrop"] == ["ALL"]
    assert fronted.deployment.execute("proxy", "id", "-u").strip() == "101"
