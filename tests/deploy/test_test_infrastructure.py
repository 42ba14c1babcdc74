"""The suite's Kafka and Postgres in containers of the images that deploy/ names, and natively."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.deploying.engine import Docker
from support.deploying.images import provide_images
from support.deploying.report import say
from support.kept_services import SETTING

ROOT = Path(__file__).parents[2]
SELECTION = (
    "tests/integration/store/test_roles.py::test_a_role_has_exactly_the_declared_rights",
    "tests/integration/runtime/test_topics.py::test_provisioning_twice_changes_nothing",
)


@pytest.mark.parametrize("choice", ["containers", "native"])
def test_integration_tests_pass_with_each_infrastructure(engine: Docker, choice: str) -> None:
    images = provide_images(engine, say)
    environment = {**os.environ, **engine.environment, SETTING: choice, "CANDLEKEEP_REQUIRE_REAL_KAFKA": "1"}
    environment |= {name: images[name] for name in ("KAFKA_IMAGE", "POSTGRES_IMAGE")}
    environment = {
        name: value for name, value in environment.items() if not name.startswith(("PYTEST_", "CANDLEKEEP_TEST_RUN"))
    }
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-q", *SELECTION)
    before = _containers(engine)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    used = dict(re.findall(r"^(Kafka|Postgres) used by the tests: (.+)$", done.stdout, flags=re.MULTILINE))
    assert set(used) == {"Kafka", "Postgres"}
    for name, variable in (("Kafka", "KAFKA_IMAGE"), ("Postgres", "POSTGRES_IMAGE")):
        assert (f"in a container ({images[variable]})" in used[name]) == (choice == "containers")
        assert (f"natively, because {SETTING} is native" in used[name]) == (choice == "native")
        say(f"tests, {choice}: {used[name]}")
    assert _containers(engine) <= before


def _containers(engine: Docker) -> set[str]:
    """Those that testcontainers made."""
    return set(engine.run("ps", "--all", "--quiet", "--filter", "label=org.testcontainers=true").split())
