"""Compose 2: the plugin of the docker command, or the program in the package of Debian, which is fetched once.

Operators run compose 2, so the tests do, too. Debian 12's docker-compose 1.29 refuses `name` and knows no `up --wait`.
podman-compose ignores the conditions of `depends_on` where health checks do not run by themselves. To build compose 2
from its Go module takes minutes.
"""

import os
import subprocess
from pathlib import Path

from support.deploying.engine import Docker, EngineUnavailable, cache_folder
from support.deploying.images import DEBIAN, debian_image

_FETCH = """
cd /tmp && apt-get update -q >&2 && apt-get download -q docker-compose >&2
dpkg-deb --fsys-tarfile docker-compose_*.deb | tar -xO ./usr/libexec/docker/cli-plugins/docker-compose
"""
_FETCH_SECONDS = 300.0


def compose_command(docker: Docker) -> tuple[str, ...]:
    """Raises `EngineUnavailable` if there is neither the plugin nor Debian's package."""
    plugin = ("docker", "compose")
    if _works(docker, plugin):
        return plugin
    program = cache_folder() / f"docker-compose-{DEBIAN}"
    if not program.exists():
        _fetch(docker, program)
    if not _works(docker, (str(program),)):
        raise EngineUnavailable(f"{program} does not run here: install the plugin docker-compose-plugin")
    return (str(program),)


def _works(docker: Docker, command: tuple[str, ...]) -> bool:
    version = subprocess.run((*command, "version"), env=dict(docker.environment), capture_output=True, check=False)
    return version.returncode == 0


def _fetch(docker: Docker, program: Path) -> None:
    part = program.with_suffix(f".part-{os.getpid()}")
    command = ("docker", "run", "--rm", "--network", "host", debian_image(docker), "sh", "-ec", _FETCH)
    with part.open("wb") as file:
        done = subprocess.run(
            command,
            env=dict(docker.environment),
            stdout=file,
            stderr=subprocess.PIPE,
            timeout=_FETCH_SECONDS,
            check=False,
        )
    if done.returncode != 0 or part.stat().st_size == 0:
        part.unlink()
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise EngineUnavailable(f"there is no `docker compose`, and Debian's package cannot be fetched: {reason}")
    part.chmod(0o755)
    part.rename(program)
