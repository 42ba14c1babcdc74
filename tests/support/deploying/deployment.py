"""A deployment of deploy/compose.yaml with its own project name, ports and secrets."""

import json
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from local_stack.api_client import client
from local_stack.ports import free_port
from support.deploying.engine import Docker, run
from support.deploying.images import ROOT

SERVICES = ("admin-api", "scheduler", "collector", "log-writer", "candle-writer", "backfiller")
SIMULATOR = "exchange-simulator"
DEPLOY = ROOT / "deploy"
JOBS = ("roles", "migrate", "topics")
_LABEL = "com.docker.compose.project"


@dataclass(frozen=True)
class Container:
    """A container of a service, as the engine describes it."""

    id: str
    service: str
    state: Mapping[str, Any]
    description: Mapping[str, Any]

    @property
    def is_healthy(self) -> bool:
        return bool(self.state["Running"]) and self.state.get("Health", {}).get("Status") == "healthy"


class Deployment:
    def __init__(
        self,
        docker: Docker,
        compose: tuple[str, ...],
        variables: Mapping[str, str],
        folder: Path,
        *,
        overlays: tuple[Path, ...] = (DEPLOY / "compose.simulator.yaml",),
    ) -> None:
        """`overlays`: compose files beside compose.yaml."""
        self.docker = docker
        self.project = f"candlekeep-test-{uuid.uuid4().hex[:8]}"
        self.secrets = folder / "secrets"
        self.api_port, self.prometheus_port = free_port(), free_port()
        files = (DEPLOY / "compose.yaml", *overlays)
        self._command = (*compose, "--project-name", self.project)
        self._command += tuple(part for file in files for part in ("--file", str(file)))
        self._environment = {
            **docker.environment,
            **variables,
            "SECRETS_FOLDER": str(self.secrets),
            "API_PORT": str(self.api_port),
            "PROMETHEUS_PORT": str(self.prometheus_port),
        }
        run((str(ROOT / "deploy/make-secrets"), str(self.secrets)), environment=docker.environment, seconds=30)

    def compose(self, *arguments: str, seconds: float = 120.0) -> str:
        return run((*self._command, *arguments), environment=self._environment, seconds=seconds)

    def script(self, name: str, *arguments: str, seconds: float = 600.0, **variables: str) -> str:
        """The output of a script of deploy/. Raises AssertionError with its messages if it fails."""
        environment = {**self._environment, "COMPOSED": " ".join(self._command), **variables}
        return run((str(DEPLOY / name), *arguments), environment=environment, seconds=seconds)

    def query(self, statement: str) -> list[list[str]]:
        """The rows of a query in the database of the deployment, as texts."""
        options = ("--no-align", "--tuples-only", "--field-separator", "\x1f", "--command", statement)
        command = ("psql", "--username", "candlekeep", "--dbname", "candlekeep", *options)
        return [line.split("\x1f") for line in self.execute("postgres", *command).splitlines()]

    def down(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans")

    def leftovers(self) -> dict[str, list[str]]:
        """The containers, volumes and networks of this deployment, by their kind."""
        label = f"label={_LABEL}={self.project}"
        return {
            "containers": self.docker.run("ps", "--all", "--quiet", "--filter", label).split(),
            "volumes": self.docker.run("volume", "ls", "--quiet", "--filter", label).split(),
            "networks": self.docker.run("network", "ls", "--quiet", "--filter", label).split(),
        }

    def containers(self, *services: str) -> list[Container]:
        """The containers of these services; without names, all. Jobs that have ended are among them."""
        ids = self.docker.run("ps", "--all", "--quiet", "--filter", f"label={_LABEL}={self.project}").split()
        described = json.loads(self.docker.run("inspect", *ids)) if ids else []
        found = [
            Container(each["Id"], each["Config"]["Labels"]["com.docker.compose.service"], each["State"], each)
            for each in described
        ]
        return sorted(
            (container for container in found if not services or container.service in services),
            key=lambda container: container.service,
        )

    def container(self, service: str) -> Container:
        [found] = self.containers(service)
        return found

    def execute(self, service: str, *command: str) -> str:
        """The output of a command in the container. Raises AssertionError if it fails."""
        return self.docker.run("exec", self.container(service).id, *command)

    def api(self) -> httpx.AsyncClient:
        return client(f"http://127.0.0.1:{self.api_port}", (self.secrets / "admin_token").read_text())

    def all_logs(self) -> str:
        return self.compose("logs", "--no-color", "--tail", "40")

    def logs(self, service: str, *options: str) -> str:
        """The lines of one container. Services write them to the standard error."""
        return "\n".join(self.log_lines(self.container(service), *options))

    def log_lines(self, container: Container, *options: str) -> list[str]:
        command = ("docker", "logs", *options, container.id)
        done = subprocess.run(
            command,
            env=dict(self.docker.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout.splitlines()

    def addresses(self, service: str) -> list[str]:
        networks = self.container(service).description["NetworkSettings"]["Networks"].values()
        return [network["IPAddress"] for network in networks]


def remove(deployment: Deployment) -> None:
    """Takes everything away, also after a failure in the middle of `up`."""
    try:
        deployment.down()
    except (AssertionError, subprocess.TimeoutExpired):
        found = deployment.leftovers()
        for kind, command in (("containers", ("rm", "--force", "--volumes")), ("volumes", ("volume", "rm"))):
            if found[kind]:
                deployment.docker.run(*command, *found[kind])
        if found["networks"]:
            deployment.docker.run("network", "rm", *found["networks"])
        raise
