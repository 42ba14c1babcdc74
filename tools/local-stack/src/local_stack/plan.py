"""The processes of the stack, with their ports and environments. This module starts nothing."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from local_stack.exchanges import exchange_environment
from local_stack.kafka_properties import KafkaPorts
from local_stack.ports import LOOPBACK, free_port

DEFAULT_PORT = 8000
SIMULATED_EXCHANGES = ("binance", "bybit", "coinbase", "kraken", "okx")
# The stack stops in several phases and must end within about fifteen seconds.
SERVICE_GRACE_SECONDS = 4


@dataclass(frozen=True, kw_only=True)
class Role:
    """A kind of process of the stack. `port_offset` is added to the port of the API."""

    name: str
    argv: tuple[str, ...]
    port_offset: int
    stop_phase: int
    """Lower phases stop first: scheduler and API, then collectors, then writers, then the simulator."""
    uses_database: bool = False
    ready_path: str | None = "/health/ready"
    """None: the process is ready when its port accepts connections."""


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *arguments)


ADMIN_API = Role(name="admin-api", argv=_module("admin_api"), port_offset=0, stop_phase=0, uses_database=True)
SERVICES = (
    ADMIN_API,
    Role(name="scheduler", argv=_module("scheduler"), port_offset=1, stop_phase=0),
    Role(name="collector", argv=_module("collector"), port_offset=2, stop_phase=1),
    Role(name="log-writer", argv=_module("log_writer"), port_offset=3, stop_phase=2, uses_database=True),
    Role(name="backfiller", argv=_module("backfiller"), port_offset=5, stop_phase=0, uses_database=True),
    Role(name="candle-writer", argv=_module("candle_writer"), port_offset=4, stop_phase=2, uses_database=True),
)
SIMULATOR = Role(
    name="exchange-simulator",
    argv=_module("exchange_simulator", "--port", "{port}"),
    port_offset=10,
    stop_phase=3,
    ready_path=None,
)


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The ports of all processes. `first=None`: free ports, so that several stacks can run at the same time."""

    first: int | None
    kafka: KafkaPorts
    postgres: int

    @classmethod
    def fixed(cls, first: int = DEFAULT_PORT) -> "Ports":
        """All ports have fixed distances from the port of the API, so that another PORT moves the whole stack."""
        shift = (first - DEFAULT_PORT) % 1000
        kafka = KafkaPorts(broker=19092 + shift, controller=29092 + shift)
        return cls(first=first, kafka=kafka, postgres=15432 + shift)

    @classmethod
    def free(cls) -> "Ports":
        return cls(first=None, kafka=KafkaPorts(broker=free_port(), controller=free_port()), postgres=free_port())

    def of(self, role: Role, instance: int = 1) -> int:
        if self.first is None or instance > 1:
            return free_port()
        return self.first + role.port_offset


@dataclass(frozen=True, kw_only=True)
class Service:
    """One process of a role. The second process of a role has the suffix `-2`."""

    name: str
    role: Role
    port: int

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def argv(self) -> tuple[str, ...]:
        return tuple(argument.replace("{port}", str(self.port)) for argument in self.role.argv)


def plan_services(roles: tuple[Role, ...], ports: Ports, instances: Mapping[str, int]) -> tuple[Service, ...]:
    return tuple(
        Service(name=role.name if number == 1 else f"{role.name}-{number}", role=role, port=ports.of(role, number))
        for role in roles
        for number in range(1, instances.get(role.name, 1) + 1)
    )


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """The addresses for the services. `simulator_url=None`: the real exchanges."""

    kafka: str
    database_urls: Mapping[str, str]
    """By role: each service connects with its own login."""
    token: str
    simulator_url: str | None
    topic_prefix: str = ""
    kafka_environment: Mapping[str, str] = field(default_factory=dict)
    """The client settings that this kind of Kafka needs."""


def service_environment(
    service: Service, addresses: Addresses, inherited: Mapping[str, str], overrides: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """The environment of a service. The keys of `overrides` are "*" for all, a role or a service name; the most
    specific one wins. Only services that need the database or the token get them. Raises StackError if the inherited
    settings of the exchanges are not valid.
    """
    known = ("DATABASE_URL", "CANDLEKEEP_ADMIN_TOKEN", "KAFKA_TOPIC_PREFIX")
    environment = {"LOG_FORMAT": "console", "SHUTDOWN_GRACE_SECONDS": str(SERVICE_GRACE_SECONDS)}
    environment |= {
        name: value
        for name, value in inherited.items()
        if name not in known and not name.endswith("_DATABASE_PASSWORD")  # those of other roles
    }
    environment |= {
        "HTTP_HOST": LOOPBACK,
        "HTTP_PORT": str(service.port),
        "KAFKA_BOOTSTRAP_SERVERS": addresses.kafka,
        "KAFKA_TOPIC_PREFIX": addresses.topic_prefix,
        "PYTHONUNBUFFERED": "1",
        **addresses.kafka_environment,
    }
    if service.role.uses_database:
        environment["DATABASE_URL"] = addresses.database_urls[service.role.name]
    if service.role.name == ADMIN_API.name:
        environment["CANDLEKEEP_ADMIN_TOKEN"] = addresses.token
    environment |= simulated_environment(addresses.simulator_url, inherited)
    for key in ("*", service.role.name, service.name):
        environment |= overrides.get(key, {})
    return environment


def simulated_environment(simulator_url: str | None, inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep the requests on this machine; see `exchange_environment`. Empty without a simulator: the
    services then inherit the operator's variables.
    """
    if simulator_url is None:
        return {}
    return exchange_environment(dict.fromkeys(SIMULATED_EXCHANGES, simulator_url), inherited)
