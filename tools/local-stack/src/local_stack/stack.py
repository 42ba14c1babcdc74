"""The whole system as processes on this machine: Kafka, Postgres, the simulated exchanges and the five services.

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

from local_stack.database_logins import NAMES, DatabaseLogins
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
from local_stack.keep_alive import ServiceProcess, SupervisedProcess
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
    simulated_environment,
)
from local_stack.ports import free_port, require_free
from local_stack.postgres import ExistingPostgres, Postgres, PostgresPlace, start_postgres
from local_stack.preparation import Preparation
from local_stack.processes import Child, Command, stop_leftovers
from local_stack.readiness import wait_until_ready
from store.roles import DEFAULT_PREFIX


def _no_report(_: str) -> None:
    return


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """The options of a stack. `kafka` and `database_url` name existing servers.

    Their defaults are KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL; otherwise the stack starts its own. `database_logins`
    are those of an existing database; without them, all services use the login of its URL. `postgres_data` is
    the data folder of its own Postgres. `overrides` are variables by role or process name, or "*" for all.
    `prepare=False` skips the schema and the topics.
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
    database_logins: DatabaseLogins | None = None
    postgres_data: Path | None = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    durable: bool = True
    prepare: bool = True
    report: Callable[[str], None] = _no_report


class Stack:
    """`processes` has the running processes by name: kafka, postgres, exchange-simulator, admin-api, collector-2, …"""

    def __init__(self, options: StackOptions) -> None:
        self.options = options
        self.folder = Folder(options.folder.absolute())
        self.token = options.token
        self.processes: dict[str, SupervisedProcess[Any]] = {}
        simulator = replace(SIMULATOR, argv=(*SIMULATOR.argv, *options.simulator_arguments))
        roles = options.roles if options.live else (simulator, *options.roles)
        self.services = {service.name: service for service in plan_services(roles, options.ports, options.instances)}
        self._report = options.report
        self._began: set[str] = set()
        # A copy, so that later changes of the environment cannot make the stack's own servers look like existing ones.
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
    def database_urls(self) -> dict[str, str]:
        """The URL for each login of the database, and for its superuser."""
        logins, url = self._logins, self.database_url
        return {"superuser": url} | {name: url if logins is None else logins.url(url, name) for name in NAMES}

    @property
    def _logins(self) -> DatabaseLogins | None:
        if self._environment.get("DATABASE_URL"):
            return self.options.database_logins
        return DatabaseLogins(passwords=self.folder.database_passwords())

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
        """Start everything and wait until all services are ready. After a StackError, the caller must call `stop`."""
        simulated_environment(self.simulator_url, self._environment)  # reports an invalid value before anything starts
        self.folder.prepare()
        if leftovers := await stop_leftovers(self.folder.run):
            self._report(f"stopped processes of an earlier run: {', '.join(leftovers)}")
        await asyncio.to_thread(self._require_free_ports)
        self.folder.claim()
        try:
            async with asyncio.TaskGroup() as starting:
                starting.create_task(self._start_kafka())
                starting.create_task(self._start_postgres())
                if not self.options.live:
                    starting.create_task(self._start_service(self.services[SIMULATOR.name]))
            self.folder.publish(token=self.token, database_urls=self.database_urls, kafka=self.kafka)
            async with asyncio.TaskGroup() as starting:
                for service in self._our_services():
                    starting.create_task(self._start_service(service))
                starting.create_task(self._publish_to_empty_kafka())
        except BaseExceptionGroup as failures:
            # Not `except*`, because Python 3.11.2 (Debian 12) wraps an exception from it in a group again.
            raise _first(failures) from None

    async def add(self, role_name: str) -> str:
        """Start another process of a role, with a new name. Returns the name when the process is ready."""
        role = next(role for role in self.options.roles if role.name == role_name)
        names = (f"{role_name}-{number}" for number in itertools.count(2))
        service = Service(name=next(name for name in names if name not in self._began), role=role, port=free_port())
        self.services[service.name] = service
        await self._start_service(service)
        return service.name

    async def remove(self, name: str) -> int | None:
        """Stop a process cleanly and remove it from the stack. Returns its exit code."""
        child = self.processes[name].running.child
        await self.processes[name].stop()
        del self.processes[name], self.services[name]
        return None if child is None else child.exit_code

    async def stop(self) -> None:
        """Stop everything in the order of the phases: services, simulator, then Kafka and Postgres."""
        phases: dict[int, list[SupervisedProcess[Any]]] = {}
        for name, process in self.processes.items():
            service = self.services.get(name)
            phases.setdefault(service.role.stop_phase if service else sys.maxsize, []).append(process)
        for phase in sorted(phases):
            await asyncio.gather(*(process.stop() for process in phases[phase]))
        self.folder.release()

    def kill_all(self) -> None:
        """Kill all processes at once, without a clean stop."""
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
            return self.options.kafka or await start_kafka(place, self._report, self._environment)

        kept = SupervisedProcess("kafka", start, self._report, self._kafka_restarted)
        self.processes["kafka"] = kept
        kafka = await kept.start()
        self._report(f"{kafka.description} answers on {kafka.bootstrap}")
        if self.options.prepare:
            await self._preparation.provision_topics(kafka, self.options.topic_prefix)
            self._report("the topics are provisioned")

    async def _start_postgres(self) -> None:
        place = PostgresPlace(
            data=self.options.postgres_data or self.folder.postgres_data,
            logs=self.folder.logs,
            run=self.folder.run,
            port=self.options.ports.postgres,
            password=self.folder.postgres_password(),
            durable=self.options.durable,
        )
        kept = SupervisedProcess(
            "postgres", lambda: start_postgres(place, self._report, self._environment), self._report
        )
        self.processes["postgres"] = kept
        postgres = await kept.start()
        self._report(f"{postgres.description} accepts connections")
        if self.options.prepare:
            await self._prepare_database(postgres)

    async def _prepare_database(self, postgres: Postgres | ExistingPostgres) -> None:
        logins = self._logins
        if logins is not None and isinstance(postgres, Postgres):
            await self._preparation.make_database_roles(postgres.url, logins)
        prefix = DEFAULT_PREFIX if logins is None else logins.prefix
        await self._preparation.migrate(self.database_urls["migrations"], prefix)
        self._report("the database schema is current")

    async def _start_service(self, service: Service) -> None:
        kept = SupervisedProcess(service.name, functools.partial(self._start_process, service), self._report)
        self.processes[service.name] = kept
        await kept.start()
        await wait_until_ready(service, kept)
        self._report(f"{service.name} is ready on port {service.port}")

    async def _start_process(self, service: Service) -> ServiceProcess:
        argv, log_file = service.argv, self.folder.logs / f"{service.name}.log"
        if service.name not in self._began:
            log_file.unlink(missing_ok=True)  # from the last run of the stack; a restart continues the file
            self._began.add(service.name)
        # Longer than the grace time of the service, so that it can report unfinished work, and can time out if Kafka
        # does not answer its last requests.
        grace = SERVICE_GRACE_SECONDS + 8.0
        command = Command(name=service.name, argv=argv, env=self._service_environment(service), grace_seconds=grace)
        child = await Child.start(command, log_file=log_file, pid_file=self.folder.run / f"{service.name}.pid")
        return ServiceProcess(child)

    def _service_environment(self, service: Service) -> dict[str, str]:
        if service.role.name == SIMULATOR.name:
            return dict(os.environ) | dict(self.options.overrides.get(SIMULATOR.name, {}))
        addresses = Addresses(
            kafka=self.kafka,
            database_urls=self.database_urls,
            token=self.token,
            simulator_url=self.simulator_url,
            topic_prefix=self.options.topic_prefix,
            kafka_environment={} if self._kafka.is_real else MEMORY_CLIENT_SETTINGS,
        )
        return service_environment(service, addresses, os.environ, self.options.overrides)

    async def _publish_to_empty_kafka(self) -> None:
        """If Kafka started empty and the database did not, publish every config again."""
        if not self.options.prepare or not self._kafka.fresh or self._postgres.fresh:
            return
        await self._preparation.publish_configs_again(self.database_urls[ADMIN_API.name])
        self._report("Kafka started empty: all configs were published again")

    async def _kafka_restarted(self, kafka: Kafka) -> None:
        if isinstance(kafka, RealKafka):
            return  # it has the same address and data, so clients reconnect by themselves
        self._report("the in-memory Kafka was restarted empty and with another address: restarting the services")
        await self._preparation.provision_topics(kafka, self.options.topic_prefix)
        for service in self._our_services():
            await self.processes[service.name].stop()
            await self.processes[service.name].start()
        await self._publish_to_empty_kafka()


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error for the user: the first StackError of several errors, otherwise the first error."""
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
