"""The whole system as processes of this machine: Kafka, Postgres, the simulated exchanges and the five services.

async with running_stack(StackOptions(folder=Path("/tmp/somewhere"))) as stack:
    stack.api_url, stack.token, stack.database_url, stack.kafka, stack.simulator_url
    await stack.processes["collector"].halt()
"""

import asyncio
import contextlib
import functools
import itertools
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from local_stack.errors import StackError
from local_stack.folder import Folder
from local_stack.kafka_provider import (
    MEMORY_CLIENT_SETTINGS,
    ExistingKafka,
    Kafka,
    KafkaPlace,
    start_kafka,
)
from local_stack.kafka_real import RealKafka
from local_stack.keep_alive import KeptAlive, ServiceProcess
from local_stack.plan import (
    ADMIN_API,
    SERVICE_GRACE_SECONDS,
    SERVICES,
    SIMULATOR,
    Addresses,
    Ports,
    Role,
    Service,
    plan_services,
    service_environment,
)
from local_stack.ports import free_port, require_free
from local_stack.postgres import ExistingPostgres, Postgres, PostgresPlace, start_postgres
from local_stack.preparation import Preparation
from local_stack.processes import Child, Command, stop_leftovers
from local_stack.readiness import wait_until_ready


def _silent(_: str) -> None:
    return


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """`kafka` and `database_url` name existing ones; the default is what KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL say,
    or our own, whose data is in `postgres_data` where given. `overrides`: environment by role or process name, "*" for
    all. `prepare=False` skips the schema and the topics, for stacks of other roles.
    """

    folder: Path
    ports: Ports = field(default_factory=Ports.free)
    roles: tuple[Role, ...] = SERVICES
    instances: Mapping[str, int] = field(default_factory=dict)
    overrides: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    live: bool = False
    simulator_arguments: tuple[str, ...] = ()
    kafka: ExistingKafka | None = None
    topic_prefix: str = ""
    database_url: str | None = None
    postgres_data: Path | None = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    durable: bool = True
    prepare: bool = True
    say: Callable[[str], None] = _silent


class Stack:
    """`processes` holds what runs, by name: kafka, postgres, exchange-simulator, admin-api, collector, collector-2 …"""

    def __init__(self, options: StackOptions) -> None:
        self.options = options
        self.folder = Folder(options.folder.absolute())
        self.token = options.token
        self.processes: dict[str, KeptAlive[Any]] = {}
        simulator = replace(SIMULATOR, argv=(*SIMULATOR.argv, *options.simulator_arguments))
        roles = options.roles if options.live else (simulator, *options.roles)
        self.services = {service.name: service for service in plan_services(roles, options.ports, options.instances)}
        self._say = options.say
        self._began: set[str] = set()
        # Ours once they run: an address in the environment must not be mistaken for somebody else's server later.
        self._environment = dict(os.environ)
        self._environment |= {"DATABASE_URL": options.database_url} if options.database_url else {}

        self._preparation = Preparation(self.folder, self._environment)

    @property
    def kafka(self) -> str:
        return self._kafka.bootstrap

    @property
    def kafka_description(self) -> str:
        return self._kafka.description

    @property
    def database_url(self) -> str:
        return self._postgres.url

    @property
    def api_url(self) -> str:
        return self.services[ADMIN_API.name].url

    @property
    def simulator_url(self) -> str | None:
        simulator = self.services.get(SIMULATOR.name)
        return simulator.url if simulator else None

    @property
    def _kafka(self) -> Kafka:
        kafka: Kafka = self.processes["kafka"].running
        return kafka

    @property
    def _postgres(self) -> Postgres | ExistingPostgres:
        postgres: Postgres | ExistingPostgres = self.processes["postgres"].running
        return postgres

    async def start(self) -> None:
        """Returns when every service is ready. Raises StackError; the caller stops what runs by then."""
        self.folder.prepare()
        if leftovers := await stop_leftovers(self.folder.run):
            self._say(f"stopped what an earlier run left behind: {', '.join(leftovers)}")
        await asyncio.to_thread(self._require_free_ports)
        self.folder.claim()
        try:
            async with asyncio.TaskGroup() as starting:
                starting.create_task(self._start_kafka())
                starting.create_task(self._start_postgres())
                if not self.options.live:
                    starting.create_task(self._start_service(self.services[SIMULATOR.name]))
            self.folder.publish(token=self.token, database_url=self.database_url, kafka=self.kafka)
            async with asyncio.TaskGroup() as starting:
                for service in self._our_services():
                    starting.create_task(self._start_service(service))
                starting.create_task(self._fill_new_kafka())
        except BaseExceptionGroup as failures:
            # Not `except*`: what is raised from it is wrapped in a group again by Python 3.11.2, which Debian 12 has.
            raise _first(failures) from None

    async def add(self, role_name: str) -> str:
        """One more process of a role, under a name that none had before. Returns the name once it is ready."""
        role = next(role for role in self.options.roles if role.name == role_name)
        names = (f"{role_name}-{number}" for number in itertools.count(2))
        service = Service(name=next(name for name in names if name not in self._began), role=role, port=free_port())
        self.services[service.name] = service
        await self._start_service(service)
        return service.name

    async def remove(self, name: str) -> int | None:
        """Stop a process well and forget it. Returns its exit code."""
        child = self.processes[name].running.child
        await self.processes[name].stop()
        del self.processes[name], self.services[name]
        return None if child is None else child.exit_code

    async def stop(self) -> None:
        """Everything, in order: who makes work, who does it, who writes it down, the outside, Kafka and Postgres."""
        phases: dict[int, list[KeptAlive[Any]]] = {}
        for name, process in self.processes.items():
            service = self.services.get(name)
            phases.setdefault(service.role.stop_phase if service else sys.maxsize, []).append(process)
        for phase in sorted(phases):
            await asyncio.gather(*(process.stop() for process in phases[phase]))
        self.folder.release()

    def kill_all(self) -> None:
        """For the impatient: no goodbye to anybody."""
        for process in self.processes.values():
            with contextlib.suppress(StackError):
                process.send(signal.SIGKILL)

    def _our_services(self) -> list[Service]:
        return [service for service in self.services.values() if service.role.name != SIMULATOR.name]

    def _require_free_ports(self) -> None:
        first = self.options.ports.first
        wanted = {service.name: service.port for service in self.services.values()}
        if not (self.options.kafka or self._environment.get("KAFKA_BOOTSTRAP_SERVERS")):
            ports = self.options.ports.kafka
            wanted |= {"Kafka": ports.broker, "Kafka's controller": ports.controller}
        if not self._environment.get("DATABASE_URL"):
            wanted["Postgres"] = self.options.ports.postgres
        another = f" or call make demo PORT={first + 100}" if first is not None else ""
        require_free(wanted, f"stop it{another}")

    async def _start_kafka(self) -> None:
        ports = self.options.ports.kafka
        place = KafkaPlace(data=self.folder.kafka_data, logs=self.folder.logs, run=self.folder.run, ports=ports)

        async def start() -> Kafka:
            return self.options.kafka or await start_kafka(place, self._say, self._environment)

        kept = KeptAlive("kafka", start, self._say, self._kafka_restarted)
        self.processes["kafka"] = kept
        kafka = await kept.start()
        self._say(f"{kafka.description} answers on {kafka.bootstrap}")
        if self.options.prepare:
            await self._preparation.provision_topics(kafka, self.options.topic_prefix)
            self._say("the topics are as declared")

    async def _start_postgres(self) -> None:
        place = PostgresPlace(
            data=self.options.postgres_data or self.folder.postgres_data,
            logs=self.folder.logs,
            run=self.folder.run,
            port=self.options.ports.postgres,
            password=self.folder.postgres_password(),
            durable=self.options.durable,
        )
        kept = KeptAlive("postgres", lambda: start_postgres(place, self._say, self._environment), self._say)
        self.processes["postgres"] = kept
        postgres = await kept.start()
        self._say(f"{postgres.description} accepts connections")
        if self.options.prepare:
            await self._preparation.migrate(postgres.url)
            self._say("the database has the current schema")

    async def _start_service(self, service: Service) -> None:
        kept = KeptAlive(service.name, functools.partial(self._start_process, service), self._say)
        self.processes[service.name] = kept
        await kept.start()
        await wait_until_ready(service, kept)
        self._say(f"{service.name} is ready on port {service.port}")

    async def _start_process(self, service: Service) -> ServiceProcess:
        argv, log_file = service.argv, self.folder.logs / f"{service.name}.log"
        if service.name not in self._began:
            log_file.unlink(missing_ok=True)  # of the last run of the stack; a restart goes on in the same file
            self._began.add(service.name)
        # More than the service takes itself, so that its own report about what it could not finish is heard, and that
        # it may give up its goodbyes to a Kafka that does not answer.
        grace = SERVICE_GRACE_SECONDS + 8.0
        command = Command(name=service.name, argv=argv, env=self._service_environment(service), grace_seconds=grace)
        child = await Child.start(command, log_file=log_file, pid_file=self.folder.run / f"{service.name}.pid")
        return ServiceProcess(child)

    def _service_environment(self, service: Service) -> dict[str, str]:
        if service.role.name == SIMULATOR.name:
            return dict(os.environ) | dict(self.options.overrides.get(SIMULATOR.name, {}))
        addresses = Addresses(
            kafka=self.kafka,
            database_url=self.database_url,
            token=self.token,
            simulator_url=self.simulator_url,
            topic_prefix=self.options.topic_prefix,
            kafka_environment={} if self._kafka.is_real else MEMORY_CLIENT_SETTINGS,
        )
        return service_environment(service, addresses, os.environ, self.options.overrides)

    async def _fill_new_kafka(self) -> None:
        """A Kafka that starts empty beside a database that does not is told of every config again."""
        if not self.options.prepare or not self._kafka.fresh or self._postgres.fresh:
            return
        await self._preparation.publish_configs_again(self.database_url)
        self._say("Kafka started empty: every config was published to it again")

    async def _kafka_restarted(self, kafka: Kafka) -> None:
        if isinstance(kafka, RealKafka):
            return  # the same address and the same data: clients reconnect by themselves
        self._say("the in-memory Kafka came back empty and elsewhere: restarting the services")
        await self._preparation.provision_topics(kafka, self.options.topic_prefix)
        for service in self._our_services():
            await self.processes[service.name].stop()
            await self.processes[service.name].start()
        await self._fill_new_kafka()


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """What to tell the user: of all that failed at once, a StackError before anything else."""
    failures = failures.subgroup(StackError) or failures
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


@contextlib.asynccontextmanager
async def running_stack(options: StackOptions) -> AsyncIterator[Stack]:
    stack = Stack(options)
    try:
        await stack.start()
        yield stack
    finally:
        await asyncio.shield(stack.stop())
