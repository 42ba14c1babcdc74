"""The conditions of a release."""

import re
import subprocess
from pathlib import Path


def problems(root: Path, version: str) -> list[str]:
    """Reasons not to release, each with what to do. Empty: the release may be built."""
    found = []
    if _git(root, "status", "--porcelain"):
        found.append("the work tree has changes that are not committed: commit or remove them")
    if not has_changelog_section(root / "CHANGELOG.md", version):
        found.append(f"CHANGELOG.md has no section `## {version} (YYYY-MM-DD)` with entries: write it")
    tagged = _git(root, "rev-parse", "--verify", "--quiet", f"refs/tags/v{version}^{{commit}}")
    if tagged and tagged != _git(root, "rev-parse", "HEAD"):
        found.append(f"the tag v{version} is another commit: choose a new version with `make version VERSION=...`")
    return found


def has_changelog_section(changelog: Path, version: str) -> bool:
    """A dated heading, and at least one entry below it."""
    heading = rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)\n(?:(?!## ).*\n)*?- "
    return re.search(heading, changelog.read_text() + "\n", flags=re.MULTILINE) is not None


def commit_time(root: Path) -> int:
    return int(_git(root, "log", "-1", "--format=%ct"))


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(("git", *arguments), cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip()
