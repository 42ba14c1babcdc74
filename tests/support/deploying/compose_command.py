"""Compose 2: the plugin of the docker command, or a program that is built once from its Go module.

Operators run compose 2, so the tests do, too. Debian's docker-compose 1.29 refuses `name`, and podman-compose ignores
the conditions of `depends_on` where health checks do not run by themselves.
"""

import os
import shutil
import subprocess
from pathlib import Path

from support.deploying.engine import Docker, EngineUnavailable, cache_folder, run

VERSION = "2.40.3"
SOURCE = Path(__file__).parents[2] / "deploy/compose_v2/main.go"
_GO_MOD = f"""\
module candlekeep.invalid/compose

go 1.24

require github.com/docker/compose/v2 v{VERSION}
"""
_BUILD_SECONDS = 900.0


def compose_command(docker: Docker) -> tuple[str, ...]:
    """Raises `EngineUnavailable` if there is neither the plugin nor Go."""
    plugin = ("docker", "compose", "version")
    if subprocess.run(plugin, env=dict(docker.environment), capture_output=True, check=False).returncode == 0:
        return ("docker", "compose")
    program = cache_folder() / f"docker-compose-{VERSION}"
    if not program.exists():
        _build(program)
    return (str(program),)


def _build(program: Path) -> None:
    if shutil.which("go") is None:
        raise EngineUnavailable(
            "there is no `docker compose`: install the plugin docker-compose-plugin, or Go to build it"
        )
    folder = cache_folder() / "compose-source"
    folder.mkdir(exist_ok=True)
    (folder / "go.mod").write_text(_GO_MOD)
    shutil.copy(SOURCE, folder / "main.go")
    environment = {**os.environ, "CGO_ENABLED": "0"}
    run(("go", "mod", "tidy"), environment=environment, seconds=_BUILD_SECONDS, cwd=folder)
    output = program.with_suffix(".part")
    build = ("go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(output), ".")
    run(build, environment=environment, seconds=_BUILD_SECONDS, cwd=folder)
    output.rename(program)
