"""A container engine: the one that answers, or one that these tests start and stop."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 60.0
STOP_SECONDS = 60.0


def cache_folder() -> Path:
    """For things that are slow to make: outside of the repository."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "candlekeep" / "deploy"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class EngineUnavailable(Exception):  # noqa: N818 -- the name states the problem
    """No engine answers, and none can be started here. The message says what to do."""


@dataclass(frozen=True)
class Docker:
    """The command docker, with the environment that leads to the engine."""

    environment: Mapping[str, str]
    description: str

    def run(self, *arguments: str, seconds: float = 60.0, cwd: Path | None = None) -> str:
        """The output of `docker ARGUMENTS`. Raises AssertionError with the message of a command that fails."""
        return run(("docker", *arguments), environment=self.environment, seconds=seconds, cwd=cwd)

    def has_image(self, name: str) -> bool:
        return bool(self.run("image", "ls", "--quiet", name).strip())


def run(command: tuple[str, ...], *, environment: Mapping[str, str], seconds: float, cwd: Path | None = None) -> str:
    """Its standard output. Raises AssertionError with the end of its messages if it fails."""
    done = subprocess.run(
        command, env=dict(environment), cwd=cwd, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)[:300]}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@contextlib.contextmanager
def running_engine() -> Iterator[Docker]:
    """Uses the engine that answers. Otherwise root starts one, with a folder and a socket of its own."""
    if shutil.which("docker") is None:
        raise EngineUnavailable("there is no command docker: install Docker, on Debian the package docker.io")
    if _answers(os.environ):
        yield Docker(dict(os.environ), "the engine that was running")
        return
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        raise EngineUnavailable("no Docker engine answers, and only root with the program dockerd can start one")
    folder = cache_folder() / "engine"
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "DOCKER_HOST": f"unix://{folder}/docker.sock"}
    with (folder / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(
            (
                *("dockerd", "--host", environment["DOCKER_HOST"], "--data-root", str(folder / "data")),
                *("--exec-root", str(folder / "run"), "--pidfile", str(folder / "dockerd.pid")),
                *("--exec-opt", "native.cgroupdriver=cgroupfs"),
            ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, environment, folder)
        yield Docker(environment, f"an engine of these tests, with its data in {folder}")
    finally:
        _stop(process)


def _answers(environment: Mapping[str, str]) -> bool:
    command = ("docker", "version", "--format", "{{.Server.Version}}")
    return subprocess.run(command, env=dict(environment), capture_output=True, timeout=30, check=False).returncode == 0


def _wait_until_ready(process: subprocess.Popen[bytes], environment: Mapping[str, str], folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(environment):
        if process.poll() is not None or time.monotonic() > deadline:
            lines = (folder / "dockerd.log").read_text(errors="replace").splitlines()
            raise EngineUnavailable(f"dockerd did not start: {' | '.join(lines[-3:])}")
        time.sleep(0.2)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
