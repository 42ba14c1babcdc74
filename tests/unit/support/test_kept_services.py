"""Whether the tests get a container or a native service, for each setting and each kind of machine."""

from collections.abc import Callable, Mapping
from typing import cast

import pytest

from local_stack.errors import StackError
from local_stack.keeper import Service
from support.containers import CONTROLLER_PORT, ContainersUnavailable, Engine, image_of, kafka_variables
from support.deploying.images import default_images
from support.kept_services import PULL_SECONDS, QUICK_PULL_SECONDS, SETTING, reason_for_native

EACH_SERVICE = pytest.mark.parametrize("what", ["kafka", "postgres"])


class EngineOfTest:
    """An engine whose images can be pulled or not, and how long it was allowed to pull."""

    def __init__(self, *, has_images: bool) -> None:
        self.has_images = has_images
        self.asked: list[tuple[str, float]] = []

    def connect(self, _: Mapping[str, str]) -> Engine:
        return cast("Engine", self)

    def provide(self, image: str, seconds: float) -> None:
        self.asked.append((image, seconds))
        if not self.has_images:
            raise ContainersUnavailable("the image is not there")


def _no_engine(_: Mapping[str, str]) -> Engine:
    raise ContainersUnavailable("no Docker engine answers")


def _must_not_connect(_: Mapping[str, str]) -> Engine:
    raise AssertionError("the engine was asked")


@EACH_SERVICE
def test_an_engine_with_the_image_runs_it_in_a_container(what: Service) -> None:
    engine = EngineOfTest(has_images=True)
    assert reason_for_native(what, {}, engine.connect) is None
    assert engine.asked == [(image_of(what, {}), QUICK_PULL_SECONDS)]
    assert image_of(what, {}) in default_images().values()


@EACH_SERVICE
@pytest.mark.parametrize(
    ("connect", "reason"),
    [(_no_engine, "no Docker engine answers"), (EngineOfTest(has_images=False).connect, "the image is not there")],
)
def test_without_engine_or_image_auto_is_native_and_containers_fails(
    what: Service, connect: Callable[[Mapping[str, str]], Engine], reason: str
) -> None:
    assert reason_for_native(what, {SETTING: "auto"}, connect) == reason
    with pytest.raises(StackError, match=f"{SETTING} is containers, but {reason}"):
        reason_for_native(what, {SETTING: "containers"}, connect)


def test_only_a_demand_for_containers_waits_long_for_an_image() -> None:
    engine = EngineOfTest(has_images=True)
    reason_for_native("kafka", {SETTING: "containers", "KAFKA_IMAGE": "mirror/kafka:4"}, engine.connect)
    assert engine.asked == [("mirror/kafka:4", PULL_SECONDS)]


@pytest.mark.parametrize(
    ("what", "name", "value"),
    [
        ("kafka", SETTING, "native"),
        ("kafka", "CANDLEKEEP_KAFKA", "memory"),
        ("kafka", "KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092"),
        ("postgres", "DATABASE_URL", "postgresql://127.0.0.1/candlekeep"),
    ],
)
def test_a_setting_that_names_a_service_is_followed_without_an_engine(what: Service, name: str, value: str) -> None:
    reason = reason_for_native(what, {name: value}, _must_not_connect)
    assert reason is not None
    assert reason.startswith(name)


def test_the_real_kafka_may_be_in_a_container() -> None:
    engine = EngineOfTest(has_images=True)
    assert reason_for_native("kafka", {"CANDLEKEEP_KAFKA": "real"}, engine.connect) is None


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(StackError, match="auto, containers, native"):
        reason_for_native("kafka", {SETTING: "docker"}, _must_not_connect)


def test_an_engine_of_another_machine_is_not_used() -> None:
    with pytest.raises(ContainersUnavailable, match="not an engine of this machine"):
        Engine.connect({"DOCKER_HOST": "tcp://192.0.2.1:2375"})


def test_the_broker_in_a_container_has_the_settings_of_the_native_one() -> None:
    variables = kafka_variables(19092)
    assert variables["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://127.0.0.1:19092"
    assert variables["KAFKA_LISTENERS"] == f"PLAINTEXT://:19092,CONTROLLER://localhost:{CONTROLLER_PORT}"
    assert variables["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert variables["KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS"] == "1000"
