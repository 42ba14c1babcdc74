"""Each kind of file is checked by a program that knows it, and each program is known to refuse a bad file."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.repository import ROOT, own_files

SHELLS = (b"#!/bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash", b"#!/usr/bin/env sh")


@dataclass(frozen=True)
class Validator:
    """A program from a wheel. `example` is a file that it must refuse, with `complaint` in its output."""

    command: tuple[str, ...]
    example: tuple[str, str]
    complaint: str

    def run(self, *files: Path) -> tuple[int, str]:
        program, *options = self.command
        command = [str(Path(sys.executable).with_name(program)), *options, *map(str, files)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


COMPOSE = Validator(
    ("check-jsonschema", "--builtin-schema", "vendor.compose-spec"),
    ("compose.yaml", "services:\n  kafka:\n    healthcheck: { tests: [CMD, 'true'] }\n"),
    "'healthcheck' was unexpected",
)
WORKFLOWS = Validator(
    ("check-jsonschema", "--builtin-schema", "vendor.github-workflows"),
    ("ci.yml", "on: push\njobs:\n  test:\n    steps: [{ run: make test }]\n"),
    "is not valid under any of the given schemas",
)
DOCKERFILES = Validator(("hadolint",), ("Dockerfile", "FROM debian\nRUN cd /tmp\n"), "DL3006")
SCRIPTS = Validator(("shellcheck",), ("script", "#!/bin/sh\nrm -r $1/*\n"), "SC2086")
YAML = Validator(("yamllint", "--strict"), ("values.yaml", "name: one\nname: two\n"), 'duplication of key "name"')


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(32).startswith(SHELLS)


FILES = tuple(own_files())
CHOSEN = {
    "compose": (COMPOSE, sorted((ROOT / "deploy").glob("compose*.yaml"))),
    "dockerfiles": (DOCKERFILES, [ROOT / "deploy/Dockerfile"]),
    "scripts": (SCRIPTS, [path for path in FILES if _is_script(path)]),
    "workflows": (WORKFLOWS, sorted((ROOT / ".github/workflows").glob("*.yml"))),
    "yaml": (YAML, [path for path in FILES if path.suffix in {".yml", ".yaml"}]),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_every_file_is_valid(name: str) -> None:
    validator, files = CHOSEN[name]
    assert files
    status, output = validator.run(*files)
    assert status == 0, output


@pytest.mark.parametrize("name", CHOSEN)
def test_a_bad_file_is_refused(name: str, tmp_path: Path) -> None:
    validator, _ = CHOSEN[name]
    file, text = validator.example
    (tmp_path / file).write_text(text)
    status, output = validator.run(tmp_path / file)
    assert status != 0
    assert validator.complaint in output


def test_the_scripts_without_a_suffix_are_found() -> None:
    found = {str(path.relative_to(ROOT)) for path in CHOSEN["scripts"][1]}
    assert {".ci/run", "deploy/build-images", "deploy/make-secrets"} <= found
