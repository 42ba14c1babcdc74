import json

import pytest

from local_stack.kafka_properties import KafkaPorts
from local_stack.plan import (
    ADMIN_API,
    SERVICES,
    SIMULATED_EXCHANGES,
    SIMULATOR,
    Addresses,
    Ports,
    plan_services,
    service_environment,
)

ROLES = (SIMULATOR, *SERVICES)


def the_environment_of(role: str, *, inherited: dict[str, str] | None = None, **changes: object) -> dict[str, str]:
    overrides = changes.pop("overrides", {})
    addresses = {
        "kafka": "127.0.0.1:19092",
        "database_urls": {role.name: f"postgresql://{role.name}@127.0.0.1:15432/candlekeep" for role in SERVICES},
        "token": "t" * 24,
        "simulator_url": "http://127.0.0.1:8010",
    }
    instances = {"collector": 2}
    (service,) = [each for each in plan_services(ROLES, Ports.fixed(), instances) if each.name == role]
    return service_environment(service, Addresses(**{**addresses, **changes}), inherited or {}, overrides)


def all_ports(first: int) -> list[int]:
    ports = Ports.fixed(first)
    services = [service.port for service in plan_services(ROLES, ports, {})]
    return [*services, ports.kafka.broker, ports.kafka.controller, ports.postgres]


def test_the_default_ports_are_the_documented_ones() -> None:
    ports = Ports.fixed()
    assert ports.kafka == KafkaPorts(broker=19092, controller=29092)
    assert ports.postgres == 15432
    assert {service.name: service.port for service in plan_services(ROLES, ports, {})} == {
        "admin-api": 8000,
        "scheduler": 8001,
        "collector": 8002,
        "log-writer": 8003,
        "candle-writer": 8004,
        "backfiller": 8005,
        "exchange-simulator": 8010,
    }


@pytest.mark.parametrize("first", [1024, 8000, 8001, 9092, 15432, 19092, 29092, 65000])
def test_all_processes_of_a_stack_have_different_ports(first: int) -> None:
    ports = all_ports(first)
    assert len(set(ports)) == len(ports)
    assert all(0 < port <= 65535 for port in ports)


def test_the_suggested_port_moves_the_whole_stack() -> None:
    assert not set(all_ports(8000)) & set(all_ports(8100))


def test_the_simulator_gets_its_port() -> None:
    (simulator,) = plan_services((SIMULATOR,), Ports.fixed(), {})
    assert simulator.argv[-2:] == ("--port", "8010")


def test_only_services_that_need_the_database_or_the_token_get_it() -> None:
    inherited = {"DATABASE_URL": "postgresql://elsewhere", "CANDLEKEEP_ADMIN_TOKEN": "x" * 30}
    by_service = {role.name: the_environment_of(role.name, inherited=inherited) for role in SERVICES}
    assert {name for name, env in by_service.items() if "DATABASE_URL" in env} == {
        "admin-api",
        "log-writer",
        "candle-writer",
        "backfiller",
    }
    for name in ("admin-api", "log-writer", "candle-writer", "backfiller"):
        assert by_service[name]["DATABASE_URL"] == f"postgresql://{name}@127.0.0.1:15432/candlekeep"
    assert {
        name: env["CANDLEKEEP_ADMIN_TOKEN"] for name, env in by_service.items() if "CANDLEKEEP_ADMIN_TOKEN" in env
    } == {ADMIN_API.name: "t" * 24}


def test_requests_are_kept_on_this_machine_only_with_the_simulator() -> None:
    for service in ("admin-api", "collector"):
        environment = the_environment_of(service)
        assert json.loads(environment["EXCHANGE_URL_OVERRIDES"]) == dict.fromkeys(
            SIMULATED_EXCHANGES, "http://127.0.0.1:8010"
        )
        assert environment["EXCHANGES_ALLOWED"] == ",".join(SIMULATED_EXCHANGES)


def test_live_services_get_the_exchange_settings_of_the_operator_only() -> None:
    variables = {"EXCHANGE_URL_OVERRIDES": '{"kraken": "http://127.0.0.1:9999"}', "EXCHANGES_ALLOWED": "kraken"}
    assert not variables.keys() & the_environment_of("collector", simulator_url=None).keys()
    environment = the_environment_of("collector", simulator_url=None, inherited=variables)
    assert variables.items() <= environment.items()


def test_services_inherit_variables_except_the_addresses_of_the_stack() -> None:
    inherited = {"RUN_DEADLINE_SECONDS": "30", "LOG_FORMAT": "json", "HTTP_PORT": "1", "KAFKA_BOOTSTRAP_SERVERS": "x:1"}
    inherited["MIGRATIONS_DATABASE_PASSWORD"] = "of another role"
    environment = the_environment_of("collector", inherited=inherited)
    assert "MIGRATIONS_DATABASE_PASSWORD" not in environment
    assert environment["RUN_DEADLINE_SECONDS"] == "30"
    assert environment["LOG_FORMAT"] == "json"
    assert environment["HTTP_PORT"] == "8002"
    assert environment["KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:19092"


def test_overrides_of_a_process_win_over_those_of_its_role_and_of_all() -> None:
    overrides = {"*": {"A": "all", "B": "all", "C": "all"}, "collector": {"B": "role", "C": "role"}}
    overrides["collector-2"] = {"C": "one"}
    environment = the_environment_of("collector-2", overrides=overrides)
    assert [environment[name] for name in "ABC"] == ["all", "role", "one"]
    assert the_environment_of("collector", overrides=overrides)["C"] == "role"
