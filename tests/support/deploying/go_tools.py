"""Programs that Go builds once, from modules with a fixed version."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from support.deploying.engine import EngineUnavailable, cache_folder

_BUILD_SECONDS = 1800.0


@dataclass(frozen=True)
class GoTool:
    """A program, its module and the version of the module."""

    name: str
    module: str
    version: str
    link: tuple[str, ...] = ()
    """More options of the linker."""


# Helm's own build sets these two. Otherwise helm believes that it renders for Kubernetes 1.20.
HELM = GoTool(
    "helm",
    "helm.sh/helm/v3/cmd/helm",
    "v3.22.0",
    link=(
        "-X=helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1",
        "-X=helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37",
        "-X=helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1",
        "-X=helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=37",
    ),
)
KUBECONFORM = GoTool("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", "v0.8.0")
ACTIONLINT = GoTool("actionlint", "github.com/rhysd/actionlint/cmd/actionlint", "v1.7.12")


def provide_tool(tool: GoTool, say: Callable[[str], None]) -> Path:
    """The program of exactly this version, from the cache or built. Raises `EngineUnavailable` without Go."""
    program = cache_folder() / f"{tool.name}-{tool.version}"
    if program.exists():
        return program
    if shutil.which("go") is None:
        raise EngineUnavailable(f"{tool.name} is built by Go, which is not installed (on Debian: golang-go)")
    say(f"building {tool.name} {tool.version} with Go, which takes minutes the first time")
    begin = time.monotonic()
    folder = cache_folder() / f"build-{tool.name}-{os.getpid()}"
    command = ("go", "install", f"-ldflags={' '.join(('-s', '-w', *tool.link))}", f"{tool.module}@{tool.version}")
    environment = {**os.environ, "GOBIN": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False)
    if done.returncode != 0:
        raise EngineUnavailable(f"Go cannot build {tool.name}: {done.stderr.strip()[-300:]}")
    (folder / tool.name).rename(program)
    folder.rmdir()
    say(f"built {tool.name} in {time.monotonic() - begin:.0f} s")
    return program
