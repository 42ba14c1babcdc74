"""Workloads of the chart as pods of podman, which understands a part of Kubernetes' objects."""

import contextlib
import copy
import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.deploying.chart import Manifest, component_of
from support.deploying.engine import Docker, EngineUnavailable, cache_folder, run

_CONFIGURATION = """
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
[containers]
# The limits of this process, because a container cannot raise them without a capability of its own.
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""
_PROGRAMS = ("podman", "runc", "/usr/lib/podman/netavark", "/usr/lib/podman/aardvark-dns")


@dataclass(frozen=True)
class Pod:
    """A pod that runs the container of one workload."""

    component: str
    container: str
    """Name of the container: podman puts the name of the pod before it."""


class Podman:
    """The command podman, with its images, its containers and one network in a folder of its own."""

    def __init__(self) -> None:
        missing = [program for program in _PROGRAMS if shutil.which(program) is None]
        if missing or os.geteuid() != 0:
            raise EngineUnavailable(f"pods need root and {', '.join(missing) or 'podman'}")
        folder = cache_folder() / "podman"
        folder.mkdir(exist_ok=True)
        (folder / "containers.conf").write_text(_CONFIGURATION)
        self.network = f"candlekeep-test-{uuid.uuid4().hex[:8]}"
        self._environment = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}
        folders = {"--root": "data", "--runroot": "run", "--network-config-dir": "networks"}
        self._command = ("podman", *(f"{option}={folder / name}" for option, name in folders.items()))

    def run(self, *arguments: str, seconds: float = 120.0) -> str:
        """The output of `podman ARGUMENTS`. Raises AssertionError with the message of a command that fails."""
        return run((*self._command, *arguments), environment=self._environment, seconds=seconds)

    def copy_images(self, docker: Docker, *names: str) -> None:
        """Images of the engine that podman does not have, or has in another version."""
        lacking = [name for name in names if self._image_id(name) != _image_id(docker, name)]
        if lacking:
            save = subprocess.Popen(("docker", "save", *lacking), env=dict(docker.environment), stdout=subprocess.PIPE)
            with save:
                subprocess.run(
                    (*self._command, "load"), env=self._environment, stdin=save.stdout, check=True, timeout=600
                )
            assert save.returncode == 0

    def _image_id(self, name: str) -> str:
        return self.run("image", "ls", "--no-trunc", "--format", "{{.ID}}", name).strip().removeprefix("sha256:")

    def probe(self, image: str) -> None:
        """Raises `EngineUnavailable` if this machine lets podman run no container on its network."""
        try:
            self.run("run", "--rm", "--network", self.network, "--entrypoint", "true", image)
        except AssertionError as error:
            raise EngineUnavailable(f"podman cannot run a container here: {str(error)[-500:]}") from None

    def start(
        self,
        name: str,
        image: str,
        *command: str,
        variables: Mapping[str, object] | None = None,
        files: Mapping[Path, str] | None = None,
        memory: str = "/tmp",
    ) -> None:
        """A container that the pods reach by its name. `files` are mounted at the paths that they lead to. The
        folder `memory` is kept in memory.
        """
        options = [f"--env={key}={value}" for key, value in (variables or {}).items()]
        options += [f"--volume={file}:{path}:ro" for file, path in (files or {}).items()]
        place = ("--name", f"{self.network}-{name}", "--network", self.network, "--network-alias", name)
        self.run("run", "--detach", "--tmpfs", memory, *place, *options, image, *command)

    def wait_for(self, name: str, *command: str, seconds: float = 300.0) -> None:
        """Until the command succeeds in the container."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.run("exec", f"{self.network}-{name}", *command)
            except AssertionError:
                assert time.monotonic() < deadline, self.logs(f"{self.network}-{name}")
                time.sleep(0.5)
            else:
                return

    def play(self, workload: Manifest, secrets: Mapping[str, str]) -> Pod:
        """Runs a workload with the values of its secrets, and returns its pod."""
        objects, pod = pod_objects(workload, secrets, self.network)
        path = cache_folder() / f"podman/{self.network}.yaml"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump_all(objects))
        try:
            self.run("kube", "play", "--quiet", "--network", self.network, str(path))
        finally:
            path.unlink()
        return pod

    def description(self, container: str) -> dict[str, Any]:
        [found] = json.loads(self.run("container", "inspect", container))
        return dict(found)

    def address(self, pod: Pod) -> str:
        """The address of a pod on the network. All its containers share the one of its first container."""
        infra = self.description(pod.container)["Pod"]
        [found] = json.loads("[" + self.run("pod", "inspect", infra) + "]")
        settings = self.description(found["InfraContainerID"])["NetworkSettings"]["Networks"]
        return str(settings[self.network]["IPAddress"])

    def execute(self, pod: Pod, *command: str) -> str:
        return self.run("exec", pod.container, *command)

    def logs(self, container: str) -> str:
        command = (*self._command, "logs", container)
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def ended(self, pod: Pod, within: float) -> int:
        """The exit status of a pod's container, after it has ended."""
        deadline = time.monotonic() + within
        while (state := self.description(pod.container)["State"])["Running"] and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not state["Running"], f"{pod.component} has not ended:\n{self.logs(pod.container)}"
        return int(state["ExitCode"])

    def remove(self) -> None:
        """Everything but the images."""
        with contextlib.suppress(AssertionError):
            self.run("pod", "rm", "--all", "--force", "--time", "0")
        with contextlib.suppress(AssertionError):
            self.run("rm", "--all", "--force", "--volumes", "--time", "0")
        with contextlib.suppress(AssertionError):
            self.run("volume", "prune", "--force")
        self.run("network", "rm", "--force", self.network)


@contextlib.contextmanager
def running_podman() -> Iterator[Podman]:
    podman = Podman()
    try:
        podman.run("network", "create", podman.network)
    except AssertionError as error:
        raise EngineUnavailable(f"podman cannot make a network here: {str(error)[-500:]}") from None
    try:
        yield podman
    finally:
        podman.remove()


def pod_objects(workload: Manifest, secrets: Mapping[str, str], name: str) -> tuple[list[Manifest], Pod]:
    """The objects for podman 4 of a deployment or a job: a pod with its template, and a ConfigMap with its secrets.

    Podman has no jobs, no projected volumes and no named ports of probes, and it does not decode the values of a
    Secret. Their contents stay: the pod of a job is not restarted, each file of a projected volume is a key of one
    ConfigMap, and ports become numbers. The list of ports is left out, because podman 4 would listen on each of them
    on this machine, where a demo may use them. The network of the pods reaches all ports.
    """
    component = component_of(workload)
    spec = copy.deepcopy(workload["spec"]["template"]["spec"])
    [container] = spec["containers"]
    ports = {port["name"]: port["containerPort"] for port in container.pop("ports", [])}
    for probe in (container[key] for key in ("livenessProbe", "readinessProbe", "startupProbe") if key in container):
        probe["httpGet"]["port"] = ports[probe["httpGet"]["port"]]
    objects: list[Manifest] = []
    pod_name = f"{name}-{component}"
    for volume in spec.get("volumes", []):
        if (projected := volume.pop("projected", None)) is None:
            continue
        files = f"{pod_name}-{volume['name']}"
        volume["configMap"] = {"name": files}
        items = [item for source in projected["sources"] for item in source["secret"]["items"]]
        data = {item["path"]: secrets[item["key"]] for item in items}
        objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": files}, "data": data})
    metadata = {"name": pod_name, "labels": workload["spec"]["template"]["metadata"]["labels"]}
    objects.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    return objects, Pod(component, f"{pod_name}-{container['name']}")


def _image_id(docker: Docker, name: str) -> str:
    return docker.run("image", "ls", "--no-trunc", "--format", "{{.ID}}", name).strip().removeprefix("sha256:")
