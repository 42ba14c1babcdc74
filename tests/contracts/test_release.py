"""Versions agree, licences are allowed, and a release is refused when a condition does not hold."""

import subprocess
from pathlib import Path

import pytest
from release import licences, preconditions
from release.build import chart
from release.version import ROOT, differences, places, version, write


def test_every_place_has_the_same_version() -> None:
    assert not differences(), f"run `make version VERSION={version()}`"
    found = {str(path.relative_to(ROOT)) for path, _ in places()}
    members = {
        str(path.relative_to(ROOT))
        for glob in ("libs", "services", "tools")
        for path in ROOT.glob(f"{glob}/*/pyproject.toml")
    }
    assert members | {"dashboard/package.json", "deploy/compose.yaml", "deploy/.env.example"} <= found


def test_a_new_version_is_written_to_every_place(tmp_path: Path) -> None:
    for path, _ in places():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    number = len(list(places(tmp_path)))
    write("12.0.0rc1", tmp_path)
    assert [match[1] for _, match in places(tmp_path)] == ["12.0.0rc1"] * number
    (tmp_path / "dashboard/package.json").write_text('{\n  "version": "3.0.0",\n}\n')
    assert differences(tmp_path) == ["dashboard/package.json: 3.0.0"]
    with pytest.raises(ValueError, match="no version"):
        write("1.0", tmp_path)


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("MIT License", True),
        ("(MIT OR CC0-1.0)", True),
        ("GPL-3.0-only OR MIT", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("Apache Software License; MIT License", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("MIT AND (AGPL-3.0 OR GPL-3.0)", False),
        ("MIT License; GNU General Public License v3 (GPLv3)", False),
        ("UNKNOWN", False),
        ("", False),
    ],
)
def test_unknown_and_forbidden_licences_are_found(expression: str, allowed: bool) -> None:
    package = licences.Licensed("python", "example", "1.0", expression)
    assert (licences.problems([package]) == []) is allowed


def test_every_package_in_the_images_has_an_allowed_licence() -> None:
    listed = licences.of_python(ROOT) + licences.of_npm(ROOT)
    assert not licences.problems(listed)
    assert len(listed) > 100
    assert {"aiokafka", "ccxt", "react"} <= {each.name for each in listed}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A commit that may be released as 0.2.0."""
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 0.2.0 (2026-12-01)\n\n- **admin-api**: better.\n")
    _git(tmp_path, "init", "--quiet")
    _commit(tmp_path)
    return tmp_path


def _git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    subprocess.run(("git", *who, *arguments), cwd=folder, check=True, capture_output=True)


def _commit(folder: Path) -> None:
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--allow-empty", "--message", "Change something")


def test_a_clean_commit_with_a_changelog_may_be_released_also_after_it_was_tagged(repository: Path) -> None:
    assert preconditions.problems(repository, "0.2.0") == []
    _git(repository, "tag", "v0.2.0")
    assert preconditions.problems(repository, "0.2.0") == []


def test_a_version_whose_tag_is_another_commit_is_refused(repository: Path) -> None:
    _git(repository, "tag", "v0.2.0")
    _commit(repository)
    [problem] = preconditions.problems(repository, "0.2.0")
    assert problem.startswith("the tag v0.2.0 is another commit")


def test_a_changed_work_tree_is_refused(repository: Path) -> None:
    (repository / "new.py").touch()
    [problem] = preconditions.problems(repository, "0.2.0")
    assert problem.startswith("the work tree has changes")


@pytest.mark.parametrize(
    "heading", ["0.2.0 (unreleased)", "0.1.9 (2026-12-01)", "0.2.0 (2026-12-01)\n\n## 0.1.0 (2026-11-01)"]
)
def test_a_changelog_without_a_dated_section_with_entries_is_refused(repository: Path, heading: str) -> None:
    (repository / "CHANGELOG.md").write_text(f"# Changelog\n\n## {heading}\n\n- **admin-api**: better.\n")
    _commit(repository)
    [problem] = preconditions.problems(repository, "0.2.0")
    assert problem.startswith("CHANGELOG.md has no section")


def test_the_archive_of_a_chart_depends_on_the_content_only(tmp_path: Path) -> None:
    archives = []
    for name in ("first", "second"):
        (tmp_path / name / "candlekeep/templates").mkdir(parents=True)
        (tmp_path / name / "candlekeep/Chart.yaml").write_text("name: candlekeep\n")
        (tmp_path / name / "candlekeep/templates/service.yaml").write_text("kind: Service\n")
        chart(tmp_path / name / "candlekeep", tmp_path / name, "0.2.0", 1_700_000_000)
        archives.append((tmp_path / name / "candlekeep-0.2.0.tgz").read_bytes())
    assert archives[0] == archives[1]
