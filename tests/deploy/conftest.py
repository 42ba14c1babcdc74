"""An engine, the images and one deployment for the tests of this folder. `make test-deploy` runs them."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from support.deploying.chart import Helm
from support.deploying.compose_command import compose_command
from support.deploying.deployment import SERVICES, SIMULATOR, Deployment, remove
from support.deploying.engine import Docker, EngineUnavailable, running_engine
from support.deploying.go_tools import ACTIONLINT, provide_tool
from support.deploying.images import build_images, provide_images
from support.deploying.podman import Podman, running_podman
from support.deploying.report import LINES, say

OPTIONAL = "TEST_DEPLOY_OPTIONAL"
"""If this variable is set, the tests are skipped on machines that can have no engine or no images."""
MINUTES = "TEST_DEPLOY_MINUTES"
"""If this variable is set, tests that did not begin within so many minutes are skipped."""
_BEGAN = time.monotonic()
PREFIX, TAG = "localhost/candlekeep-test/", "test-deploy"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if LINES:
        terminalreporter.section("deployment")
        for line in LINES:
            terminalreporter.write_line(line)


def pytest_runtest_setup() -> None:
    minutes = os.environ.get(MINUTES)
    if minutes and time.monotonic() - _BEGAN > float(minutes) * 60:
        line = f"not tested: the tests that had not begun after {minutes} minutes ({MINUTES})"
        if line not in LINES:
            say(line)
        pytest.skip(line)


def unavailable(reason: str) -> NoReturn:
    """Ends the test, because the machine lacks something for it."""
    say(f"not tested: {reason}")
    if os.environ.get(OPTIONAL):
        pytest.skip(reason)
    pytest.fail(reason, pytrace=False)


@pytest.fixture(scope="session")
def engine() -> Iterator[Docker]:
    try:
        with running_engine() as docker:
            say(f"engine: {docker.run('version', '--format', '{{.Server.Version}}').strip()}, {docker.description}")
            yield docker
    except EngineUnavailable as error:
        unavailable(f"no deployment can be tested: {error}")


@pytest.fixture(scope="session")
def images(engine: Docker) -> dict[str, str]:
    """The variables of compose that name images. All images are built."""
    try:
        provided = provide_images(engine, say)
    except EngineUnavailable as error:
        unavailable(f"no images: {error}")
    for name in (*SERVICES, SIMULATOR):
        begin = time.monotonic()
        build_images(engine, provided, PREFIX, TAG, (name,))
        say(f"built {name} in {time.monotonic() - begin:.0f} s")
    return provided | {"IMAGE_PREFIX": PREFIX, "IMAGE_TAG": TAG}


@pytest.fixture(scope="session")
def deployment(
    engine: Docker, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A running deployment with the simulator, all of whose containers are healthy."""
    try:
        compose = compose_command(engine)
    except EngineUnavailable as error:
        unavailable(f"no compose: {error}")
    deployed = Deployment(engine, compose, images, tmp_path_factory.mktemp("deployment"))
    begin = time.monotonic()
    try:
        try:
            deployed.compose("up", "--detach", "--wait", seconds=600)
        except AssertionError as error:
            pytest.fail(f"{error}\n{deployed.all_logs()}", pytrace=False)
        version = deployed.compose("version", "--short").strip()
        say(f"compose {version}: all healthy {time.monotonic() - begin:.0f} s after `up`")
        yield deployed
    finally:
        remove(deployed)


@pytest.fixture(scope="session")
def helm() -> Helm:
    """The program helm, which Go builds the first time. It needs no engine."""
    try:
        return Helm(say)
    except EngineUnavailable as error:
        unavailable(f"the chart: {error}")


@pytest.fixture(scope="module")
def podman(engine: Docker, images: dict[str, str]) -> Iterator[Podman]:
    """Runs the workloads of the chart, and has the images for it. It leaves only these."""
    ours = tuple(f"{images['IMAGE_PREFIX']}{name}:{images['IMAGE_TAG']}" for name in (*SERVICES, SIMULATOR))
    try:
        with running_podman() as started:
            say(f"podman: {started.run('version', '--format', '{{.Client.Version}}').strip()}")
            started.copy_images(engine, *ours, images["KAFKA_IMAGE"], images["POSTGRES_IMAGE"])
            started.probe(images["POSTGRES_IMAGE"])
            yield started
    except EngineUnavailable as error:
        unavailable(f"the pods of the chart: {error}")


@pytest.fixture(scope="session")
def actionlint() -> Path:
    try:
        return provide_tool(ACTIONLINT, say)
    except EngineUnavailable as error:
        unavailable(f"the workflows are not checked: {error}")
