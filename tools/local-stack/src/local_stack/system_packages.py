"""Installs the system packages that a make target needs, if it may, or says which to install.

    python -m local_stack.system_packages TARGET

TARGET is `venv` or one of the Makefile's. Root may install on a machine with apt-get (Debian and its relatives). The
services of the packages stay off. This module needs only the standard library, because `venv` runs before anything
else is installed.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from local_stack.kafka_jars import NoRealKafka, cache_folder, find_java
from local_stack.service_presets import services_off


@dataclass(frozen=True, kw_only=True)
class SystemPackage:
    """`name` is Debian's. `without_it` says what is left out if the package is missing."""

    name: str
    targets: frozenset[str]
    is_present: Callable[[], bool]
    without_it: str
    required_by: frozenset[str] = frozenset()
    """Those of the targets that cannot run at all without it."""


class PackageMissing(Exception):  # noqa: N818 -- the name states the problem
    """The target cannot run without the package."""


class InstallFailed(Exception):  # noqa: N818 -- the name states the problem
    """apt-get failed; the message is its own."""


def faketime_library() -> Path | None:
    """The preload library of Debian's package `libfaketime`, None if it is not installed."""
    return next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)


def browser() -> str | None:
    """The command of Chromium or Chrome, None if neither is installed."""
    return next((found for name in _BROWSERS if (found := shutil.which(name)) is not None), None)


def _is_installed(program: str) -> bool:
    return shutil.which(program) is not None


def _wants_no_real_kafka() -> bool:
    return os.environ.get("CANDLEKEEP_KAFKA") == "memory"


def _has_java() -> bool:
    if _wants_no_real_kafka():
        return True
    try:
        find_java()
    except NoRealKafka:
        return False
    return True


def _has_maven_or_jars() -> bool:
    """Maven is needed once: it fetches the jars of Kafka."""
    return _wants_no_real_kafka() or shutil.which("mvn") is not None or any((cache_folder() / "libs").glob("*.jar"))


def _has_docker() -> bool:
    """The command alone is not enough: an engine must run, or there must be one to start."""
    has_engine = "DOCKER_HOST" in os.environ or Path("/var/run/docker.sock").exists()
    return shutil.which("docker") is not None and (has_engine or shutil.which("dockerd") is not None)


_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_WITH_KAFKA = frozenset({"demo", "test", "faults", "nemesis", "guards"})
_FOR_PODS = {
    "podman": "podman",
    "runc": "runc",
    "netavark": "/usr/lib/podman/netavark",
    "aardvark-dns": "/usr/lib/podman/aardvark-dns",
    "catatonit": "catatonit",
}
_NO_KAFKA = "an in-memory Kafka is used, and tests that need the real Apache Kafka are skipped"
PACKAGES = (
    SystemPackage(
        name=f"python{sys.version_info.major}.{sys.version_info.minor}-venv",
        targets=frozenset({"venv"}),
        required_by=frozenset({"venv"}),
        is_present=lambda: find_spec("ensurepip") is not None,
        without_it="this Python has no ensurepip, so it cannot create .venv",
    ),
    SystemPackage(name="default-jre-headless", targets=_WITH_KAFKA, is_present=_has_java, without_it=_NO_KAFKA),
    SystemPackage(name="maven", targets=_WITH_KAFKA, is_present=_has_maven_or_jars, without_it=_NO_KAFKA),
    SystemPackage(
        name="libfaketime",
        targets=frozenset({"faults"}),
        is_present=lambda: faketime_library() is not None,
        without_it="the fault tests with a wrong clock are skipped",
    ),
    SystemPackage(
        name="git",
        targets=frozenset({"test", "guards"}),
        required_by=frozenset({"guards"}),
        is_present=lambda: shutil.which("git") is not None,
        without_it="the repository cannot be copied, so guards cannot be taken away",
    ),
    SystemPackage(
        name="docker.io",
        targets=frozenset({"test-deploy"}),
        required_by=frozenset({"test-deploy"}),
        is_present=_has_docker,
        without_it="no image can be built and no container started",
    ),
    *(
        SystemPackage(
            name=name,
            targets=frozenset({"test-deploy"}),
            is_present=partial(_is_installed, path),
            without_it="the workloads of the Helm chart are rendered, but not started",
        )
        for name, path in _FOR_PODS.items()
    ),
    SystemPackage(
        name="debootstrap",
        targets=frozenset({"test-deploy"}),
        is_present=lambda: shutil.which("debootstrap") is not None,
        without_it="images that cannot be pulled cannot be replaced by stand-ins",
    ),
    SystemPackage(
        name="chromium",
        targets=frozenset({"test", "screenshots"}),
        required_by=frozenset({"screenshots"}),
        is_present=lambda: browser() is not None,
        without_it="the tests of the dashboard are skipped",
    ),
    SystemPackage(
        name="prometheus",
        targets=frozenset({"test"}),
        is_present=lambda: shutil.which("promtool") is not None,
        without_it="the alerts are not tested",
    ),
    SystemPackage(
        name="prometheus-alertmanager",
        targets=frozenset({"test"}),
        is_present=lambda: shutil.which("amtool") is not None,
        without_it="the tests of Alertmanager's configuration fail",
    ),
    SystemPackage(
        name="curl",
        targets=frozenset({"test"}),
        is_present=lambda: shutil.which("curl") is not None,
        without_it="the test that runs the guide's curl commands fails",
    ),
)


def may_install() -> bool:
    """Whether this process may install packages: root, with apt-get."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def provide(
    target: str,
    *,
    say: Callable[[str], None],
    packages: Iterable[SystemPackage] = PACKAGES,
) -> None:
    """Install what the target lacks, or say what to install. Raises `PackageMissing` if it cannot run without."""
    lacking = [package for package in packages if target in package.targets and not package.is_present()]
    if not lacking:
        return
    how = "only root on Debian can do that from here"
    if may_install():
        say(f"installing Debian packages that are missing: {_names(lacking)}")
        try:
            _install([package.name for package in lacking])
        except InstallFailed as error:
            how = f"apt-get could not: {error}"
        lacking = [package for package in lacking if not package.is_present()]
    for package in lacking:
        say(f"{package.name} is not installed: {package.without_it}")
    if lacking:
        say(f"to install what is missing: sudo apt-get install {_names(lacking)} ({how})")
    if required := [package for package in lacking if target in package.required_by]:
        raise PackageMissing(f"it cannot run without {_names(required)}")


def _names(packages: Iterable[SystemPackage]) -> str:
    return " ".join(package.name for package in packages)


def _install(names: list[str]) -> None:
    """The lists of packages are fetched only if the first try fails: a fresh machine has none, others have old ones.
    Raises `InstallFailed`.
    """
    try:
        with services_off() as environment:
            try:
                _apt_get("install", "--yes", "--no-install-recommends", *names, environment=environment)
            except InstallFailed:
                _apt_get("update", environment=environment)
                _apt_get("install", "--yes", "--no-install-recommends", *names, environment=environment)
    except OSError as error:
        raise InstallFailed(str(error)) from None


def _apt_get(*arguments: str, environment: Mapping[str, str]) -> None:
    """Returns or raises only after apt-get has ended, so that no package is configured after the block of
    `services_off`. On Ctrl-C apt-get stops a download at once, but first completes the packages that it has begun.
    """
    # No signal arrives between the start of apt-get and the block that waits for its end.
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    restore = partial(signal.pthread_sigmask, signal.SIG_SETMASK, unblocked)
    try:
        process = subprocess.Popen(
            ["apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=120", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, "DEBIAN_FRONTEND": "noninteractive"},
            start_new_session=True,
            preexec_fn=restore,  # noqa: PLW1509 -- this program has no threads
        )
    except BaseException:
        restore()
        raise
    with process:
        try:
            restore()
            output, errors = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGINT)
            process.communicate()
            raise
    if process.returncode:
        lines = (errors or output).strip().splitlines()
        raise InstallFailed(lines[-1] if lines else f"exit code {process.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="system_packages", description="System packages that a make target needs.")
    parser.add_argument("target", choices=sorted(frozenset().union(*(package.targets for package in PACKAGES))))
    target = parser.parse_args().target
    for number in (signal.SIGTERM, signal.SIGHUP):  # as an exception, so that the block of `services_off` is left
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    try:
        provide(target, say=lambda line: print(f"{target}: {line}", flush=True))
    except PackageMissing as error:
        sys.exit(f"{target}: {error}")


if __name__ == "__main__":
    main()
