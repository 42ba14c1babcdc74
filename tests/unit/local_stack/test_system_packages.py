"""Missing system packages are installed through apt-get where that is possible, else named. apt-get is a fake."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from local_stack import system_packages
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


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return Machine(tmp_path)


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
