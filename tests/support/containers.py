"""Kafka and Postgres in containers, by testcontainers. Ports are published on the loopback address only."""

import asyncio
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from local_stack.errors import StackError
from local_stack.kafka_properties import KafkaPorts, properties
from local_stack.kafka_wire import answers
from local_stack.keeper import KeptKafka, KeptPostgres, Service, Started
from local_stack.ports import LOOPBACK, free_port
from local_stack.postgres import DATABASE, SUPERUSER
from support.deploying.images import default_images

ENGINE_SECONDS = 10.0
START_SECONDS = 120.0
CLUSTER_ID = "Y2FuZGxla2VlcC10ZXN0cw"
CONTROLLER_PORT = 9093
KAFKA_DATA = "/var/lib/kafka/data"
IMAGE_SETTINGS: Final[Mapping[Service, str]] = {"kafka": "KAFKA_IMAGE", "postgres": "POSTGRES_IMAGE"}
# As the native Postgres of the tests: a power failure may destroy the data.
POSTGRES_COMMAND = "postgres -c max_connections=200 -c fsync=off -c synchronous_commit=off -c full_page_writes=off"


class ContainersUnavailable(Exception):  # noqa: N818 -- the name states the problem
    """The message continues a sentence."""


def image_of(what: Service, environment: Mapping[str, str]) -> str:
    setting = IMAGE_SETTINGS[what]
    return environment.get(setting) or default_images()[setting]


@dataclass(frozen=True)
class Engine:
    """A Docker engine of this machine that answers."""

    environment: Mapping[str, str]

    @classmethod
    def connect(cls, environment: Mapping[str, str]) -> Self:
        """Raises `ContainersUnavailable`."""
        if not environment.get("DOCKER_HOST", "unix://").startswith("unix://"):
            raise ContainersUnavailable("DOCKER_HOST is not an engine of this machine")
        engine = cls(environment)
        if not engine._succeeds("version", within=ENGINE_SECONDS):
            raise ContainersUnavailable("no Docker engine answers")
        return engine

    def has(self, image: str) -> bool:
        return self._succeeds("image", "inspect", image, within=ENGINE_SECONDS)

    def provide(self, image: str, seconds: float) -> None:
        """Pulls the image if it is not there. Raises `ContainersUnavailable`."""
        if not self.has(image) and not self._succeeds("pull", "--quiet", image, within=seconds):
            raise ContainersUnavailable(f"the image {image} is not there and could not be pulled")

    def _succeeds(self, *arguments: str, within: float) -> bool:
        command = ("docker", *arguments)
        try:
            done = subprocess.run(command, env=dict(self.environment), capture_output=True, timeout=within, check=False)
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0


async def start_container(what: Service, environment: Mapping[str, str]) -> Started:
    """Ryuk removes the containers of a process that was killed. Without its image, only a stopped process removes them.

    Raises StackError if the container does not start.
    """
    testcontainers_config.ryuk_disabled = not Engine(environment).has(testcontainers_config.ryuk_image)
    image = image_of(what, environment)
    return await (_start_kafka(image) if what == "kafka" else _start_postgres(image))


def kafka_variables(port: int) -> dict[str, str]:
    """The settings of the native broker of the tests. In the container, it listens on all addresses."""
    ports = KafkaPorts(broker=port, controller=CONTROLLER_PORT)
    text = properties(ports, Path(KAFKA_DATA), None)
    settings = dict(line.split("=", 1) for line in text.splitlines())
    del settings["controller.quorum.bootstrap.servers"]  # needs an option when the storage is formatted
    settings["controller.quorum.voters"] = f"1@localhost:{CONTROLLER_PORT}"
    settings["listeners"] = f"PLAINTEXT://:{port},CONTROLLER://localhost:{CONTROLLER_PORT}"
    variables = {f"KAFKA_{name.replace('.', '_').upper()}": value for name, value in settings.items()}
    return variables | {"CLUSTER_ID": CLUSTER_ID, "KAFKA_HEAP_OPTS": "-Xms256m -Xmx512m"}


async def _start_kafka(image: str) -> Started:
    port = free_port()
    container = DockerContainer(image).with_envs(**kafka_variables(port))
    _publish(container, inside=port, outside=port)
    await _start(container)
    try:
        async with asyncio.timeout(START_SECONDS):
            while not await answers(port):
                await asyncio.to_thread(_require_running, container)
                await asyncio.sleep(0.1)
    except BaseException as error:
        logs = _logs(container)
        await asyncio.to_thread(container.stop)
        if isinstance(error, TimeoutError | _Exited):
            raise StackError(f"Kafka did not start in a container of {image}: {logs}") from None
        raise
    description = f"Apache Kafka in a container ({image})"
    kept = KeptKafka(bootstrap=f"{LOOPBACK}:{port}", is_real=True, description=description, control=None)
    return kept, lambda: asyncio.to_thread(container.stop)


async def _start_postgres(image: str) -> Started:
    container = PostgresContainer(image, username=SUPERUSER, password=SUPERUSER, dbname=DATABASE, driver=None)
    container.with_env("POSTGRES_INITDB_ARGS", "--encoding=UTF8 --locale=C --no-sync").with_command(POSTGRES_COMMAND)
    container.with_kwargs(shm_size="256m")
    _publish(container, inside=container.port, outside=None)
    await _start(container)  # until a query is answered
    port = await asyncio.to_thread(container.get_exposed_port, container.port)
    url = f"postgresql://{SUPERUSER}:{SUPERUSER}@{LOOPBACK}:{port}/{DATABASE}"
    kept = KeptPostgres(url=url, description=f"Postgres in a container ({image})")
    return kept, lambda: asyncio.to_thread(container.stop)


def _publish(container: DockerContainer, *, inside: int, outside: int | None) -> None:
    """On the loopback address; `outside=None`: on a free port.

    `with_bind_ports` publishes on all addresses. Docker takes a pair of address and port as well.
    """
    container.ports = {f"{inside}/tcp": (LOOPBACK, outside)}  # type: ignore[dict-item]


async def _start(container: DockerContainer) -> None:
    """Raises StackError with the container's messages."""
    try:
        await asyncio.to_thread(container.start)
    except Exception as error:
        logs = _logs(container)
        await asyncio.to_thread(container.stop)
        raise StackError(f"a container of {container.image} did not start: {error} {logs}") from error


class _Exited(Exception):  # noqa: N818 -- the name describes a state
    pass


def _require_running(container: DockerContainer) -> None:
    container.reload()
    if container.status == "exited":
        raise _Exited


def _logs(container: DockerContainer) -> str:
    if container.status == "not_started":
        return ""
    output, errors = container.get_logs()
    return " | ".join((output + errors).decode(errors="replace").splitlines()[-5:])
