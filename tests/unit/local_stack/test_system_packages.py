"""Missing system packages are installed through apt-get where that is possible, else named. apt-get is a fake."""

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from local_stack import service_presets, system_packages
from local_stack.system_packages import PACKAGES, PackageMissing, SystemPackage, provide

REPOSITORY = Path(__file__).parents[3]
FAKE_APT_GET = """#!/bin/sh
echo "$@" >> {folder}/calls
case "$*" in
  *install*) {install} ;;
  *update*) : > {folder}/lists ;;
esac
"""
INSTALLS = "for last; do :; done; : > {folder}/$last"
NEEDS_LISTS = "[ -e {folder}/lists ] || {{ echo 'E: Unable to locate package' >&2; exit 100; }}; " + INSTALLS
FAILS = "echo 'E: Could not resolve the host' >&2; exit 100"
NOTES_SERVICES = """for kind in system user; do
    preset=$(echo {folder}/run/$kind-preset/00-candlekeep-*.preset)
    while read -r line; do echo "$kind: $line" >> {folder}/services; done < $preset
  done; echo "runlevel: $RUNLEVEL" >> {folder}/services; """
# It interrupts its parent, and ends a while after the parent has interrupted it in turn.
IS_INTERRUPTED = """trap 'interrupted=yes' INT; kill -USR1 $PPID; turns=0
  while [ -z "$interrupted" ] && [ $turns -lt 1000000 ]; do turns=$((turns + 1)); done
  while [ $turns -lt 100000 ]; do turns=$((turns + 1)); done; echo "interrupted: $interrupted" >> {folder}/services; """


@dataclass
class Machine:
    """A machine without the package `wanted` until the fake apt-get has installed it."""

    folder: Path
    said: list[str] = field(default_factory=list)

    def with_apt_get(self, install: str) -> None:
        script = self.folder / "bin" / "apt-get"
        script.write_text(FAKE_APT_GET.format(folder=self.folder, install=install.format(folder=self.folder)))
        script.chmod(0o755)

    def provide(self, *, required: bool = False) -> None:
        package = SystemPackage(
            name="wanted",
            targets=frozenset({"faults"}),
            is_present=(self.folder / "wanted").exists,
            without_it="some tests are skipped",
            required_by=frozenset({"faults"} if required else ()),
        )
        provide("faults", say=self.said.append, packages=[package])

    @property
    def apt_get_verbs(self) -> list[str]:
        calls = self.folder / "calls"
        found = re.findall(r"(?<!-)\b(install|update)\b", calls.read_text() if calls.exists() else "")
        return [str(verb) for verb in found]

    @property
    def presets(self) -> list[Path]:
        return [folder / f"00-candlekeep-{os.getpid()}.preset" for folder in service_presets.PRESET_FOLDERS]

    @property
    def policy_of_services(self) -> set[str]:
        """The lines of the presets and the runlevel that apt-get saw."""
        lines = (self.folder / "services").read_text().splitlines()
        return {line for line in lines if ": #" not in line}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    folders = tuple(tmp_path / "run" / name for name in ("system-preset", "user-preset"))
    monkeypatch.setattr(service_presets, "PRESET_FOLDERS", folders)
    return Machine(tmp_path)


class Interrupted(BaseException):
    """Stands for KeyboardInterrupt, which would end the whole test run if it came too late."""


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGUSR1 interrupts this process, and children do not ignore SIGINT."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = {
        signal.SIGUSR1: signal.signal(signal.SIGUSR1, interrupt),
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_root_on_debian_installs_what_is_missing_and_says_so(machine: Machine) -> None:
    machine.with_apt_get(INSTALLS)
    machine.provide()
    assert machine.said == ["installing Debian packages that are missing: wanted"]
    assert machine.apt_get_verbs == ["install"]


def test_nothing_is_said_or_called_when_nothing_is_missing(machine: Machine) -> None:
    machine.with_apt_get(INSTALLS)
    (machine.folder / "wanted").touch()
    machine.provide()
    assert (machine.said, machine.apt_get_verbs) == ([], [])


def test_package_lists_are_fetched_when_the_machine_has_none(machine: Machine) -> None:
    machine.with_apt_get(NEEDS_LISTS)
    machine.provide(required=True)
    assert machine.said == ["installing Debian packages that are missing: wanted"]
    assert machine.apt_get_verbs == ["install", "update", "install"]


def test_the_target_goes_on_without_a_package_that_cannot_be_installed(machine: Machine) -> None:
    machine.with_apt_get(FAILS)
    machine.provide()
    assert machine.said[1:] == [
        "wanted is not installed: some tests are skipped",
        "to install what is missing: sudo apt-get install wanted (apt-get could not: E: Could not resolve the host)",
    ]


@pytest.mark.parametrize("outcome", [INSTALLS, FAILS], ids=["installed", "failed"])
def test_services_of_packages_are_off_while_they_are_installed_and_only_then(machine: Machine, outcome: str) -> None:
    machine.with_apt_get(NOTES_SERVICES + outcome)
    machine.provide()
    assert machine.policy_of_services == {"system: disable *", "user: disable *", "runlevel: 1"}
    assert not (machine.folder / "run").exists()


def test_presets_of_the_machine_stay(machine: Machine) -> None:
    own = machine.presets[0].with_name("50-own.preset")
    own.parent.mkdir(parents=True)
    own.write_text("disable own.service")
    machine.with_apt_get(NOTES_SERVICES + INSTALLS)
    machine.provide()
    assert list((machine.folder / "run").rglob("*.preset")) == [own]


def test_nothing_is_installed_if_the_services_cannot_be_kept_off(machine: Machine) -> None:
    (machine.folder / "run").touch()
    machine.with_apt_get(INSTALLS)
    machine.provide()
    assert machine.apt_get_verbs == []
    assert "apt-get could not: [Errno " in machine.said[-1]


@pytest.mark.usefixtures("interruptible")
def test_services_stay_off_until_an_interrupted_apt_get_has_ended(machine: Machine) -> None:
    machine.with_apt_get(IS_INTERRUPTED + NOTES_SERVICES + INSTALLS)
    with pytest.raises(Interrupted):
        machine.provide()
    assert {"interrupted: yes", "system: disable *"} <= machine.policy_of_services
    assert not (machine.folder / "run").exists()


@pytest.mark.parametrize(("user", "is_debian"), [(1000, True), (0, False)], ids=["not root", "not Debian"])
def test_others_get_the_names_of_the_packages_to_install(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, user: int, is_debian: bool
) -> None:
    if is_debian:
        machine.with_apt_get(INSTALLS)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    machine.provide()
    assert machine.said == [
        "wanted is not installed: some tests are skipped",
        "to install what is missing: sudo apt-get install wanted (only root on Debian can do that from here)",
    ]
    assert machine.apt_get_verbs == []


def test_a_target_ends_when_it_cannot_run_without_the_package(machine: Machine) -> None:
    with pytest.raises(PackageMissing, match="cannot run without wanted"):
        machine.provide(required=True)


def test_python_without_ensurepip_names_the_package_of_its_own_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_packages, "find_spec", lambda _: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    said: list[str] = []
    with pytest.raises(PackageMissing, match=r"cannot run without python3\.\d+-venv"):
        provide("venv", say=said.append)
    assert said[0].endswith("this Python has no ensurepip, so it cannot create .venv")


def test_no_java_is_needed_when_the_in_memory_kafka_is_asked_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    java = next(package for package in PACKAGES if package.name == "default-jre-headless")
    assert not java.is_present()
    monkeypatch.setenv("CANDLEKEEP_KAFKA", "memory")
    assert java.is_present()


def test_every_target_of_a_package_is_provided_for_by_the_makefile() -> None:
    calls = re.findall(
        r"(?:\$\(PACKAGES_FOR\)|-m local_stack\.system_packages) ([\w-]+)", (REPOSITORY / "Makefile").read_text()
    )
    assert set(calls) == {target for package in PACKAGES for target in package.targets}
