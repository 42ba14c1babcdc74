"""The images of Candlekeep, as they are in the engine."""

import json
import subprocess
from typing import Any

import pytest

from support.deploying.deployment import SERVICES, SIMULATOR
from support.deploying.engine import Docker
from support.deploying.images import ROOT
from support.deploying.report import say

MAX_BYTES_BEYOND_BASE = 200 * 1000 * 1000
EACH_IMAGE = pytest.mark.parametrize("name", [*SERVICES, SIMULATOR])
FIND_SOURCES_WITHOUT_BYTECODE = """
import importlib.util, pathlib
sources = [path for root in ("/opt/venv/lib", "/opt/candlekeep") for path in pathlib.Path(root).rglob("*.py")]
assert len(sources) > 100
print(*[path for path in sources if not pathlib.Path(importlib.util.cache_from_source(str(path))).exists()])
"""


def _description(engine: Docker, image: str) -> dict[str, Any]:
    [description] = json.loads(engine.run("image", "inspect", image))
    return dict(description)


def _name(images: dict[str, str], name: str) -> str:
    return f"{images['IMAGE_PREFIX']}{name}:{images['IMAGE_TAG']}"


@EACH_IMAGE
def test_an_image_adds_at_most_200_megabytes_to_its_base(engine: Docker, images: dict[str, str], name: str) -> None:
    base = _description(engine, images["PYTHON_IMAGE"])["Size"]
    added = _description(engine, _name(images, name))["Size"] - base
    say(f"image of {name}: {added / 1e6:.0f} MB beyond its base of {base / 1e6:.0f} MB")
    assert 0 < added <= MAX_BYTES_BEYOND_BASE


@EACH_IMAGE
def test_an_image_is_labelled_and_not_for_root(engine: Docker, images: dict[str, str], name: str) -> None:
    config = _description(engine, _name(images, name))["Config"]
    revision = subprocess.run(("git", "rev-parse", "HEAD"), cwd=ROOT, capture_output=True, text=True, check=False)
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["title"] == f"candlekeep-{name}"
    assert f'version = "{labels["version"]}"' in (ROOT / "pyproject.toml").read_text()
    assert labels["revision"] == (revision.stdout.strip() or "unknown")
    assert config["User"] == "65532:65532"
    assert "/health/live" in config["Healthcheck"]["Test"][-1]


@EACH_IMAGE
def test_an_image_has_bytecode_and_no_installer(engine: Docker, images: dict[str, str], name: str) -> None:
    """A process on a read-only file system would compile every module at each start."""
    in_container = ("run", "--rm", "--read-only", "--network", "none", _name(images, name), "python", "-c")
    assert engine.run(*in_container, FIND_SOURCES_WITHOUT_BYTECODE).split() == []
    assert engine.run(*in_container, "import importlib.util; print(importlib.util.find_spec('pip'))").strip() == "None"


def test_the_image_of_the_api_has_the_dashboard(engine: Docker, images: dict[str, str]) -> None:
    read = "import os, pathlib; print((pathlib.Path(os.environ['DASHBOARD_FOLDER']) / 'index.html').read_text())"
    in_container = ("run", "--rm", "--read-only", "--network", "none", _name(images, "admin-api"), "python", "-c")
    assert "/assets/index-" in engine.run(*in_container, read)


def test_settings_of_pip_and_npm_are_not_in_an_image(engine: Docker, images: dict[str, str]) -> None:
    for name in (*SERVICES, SIMULATOR):
        history = engine.run("history", "--no-trunc", "--format", "{{.CreatedBy}}", _name(images, name))
        assert "PIP_" not in history
        assert "NPM_" not in history
