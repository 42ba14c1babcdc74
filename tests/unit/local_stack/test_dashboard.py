"""The build of the dashboard: when it is repeated, and with which Node."""

from pathlib import Path

import pytest

from local_stack.dashboard import digest_of, sources, version_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("package.json", "src/main.tsx", "dist/index.html", "node_modules/react/index.js", ".build-lock"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_only_sources_are_part_of_the_digest(folder: Path) -> None:
    assert [str(path.relative_to(folder)) for path in sources(folder)] == ["package.json", "src/main.tsx"]


def test_a_changed_added_or_renamed_source_changes_the_digest(folder: Path) -> None:
    digests = [digest_of(sources(folder))]
    (folder / "src/main.tsx").write_text("changed")
    digests.append(digest_of(sources(folder)))
    (folder / "src/new.ts").write_text("")
    digests.append(digest_of(sources(folder)))
    (folder / "src/new.ts").rename(folder / "src/old.ts")
    digests.append(digest_of(sources(folder)))
    assert len(set(digests)) == len(digests)
    (folder / "dist/index.html").write_text("built again")
    assert digest_of(sources(folder)) == digests[-1]


@pytest.mark.parametrize(
    ("text", "version"), [("v20.19.1\n", (20, 19, 1)), ("v24.0.0-nightly", ()), ("", ()), ("node: error", ())]
)
def test_the_version_of_node_is_read(text: str, version: tuple[int, ...]) -> None:
    assert version_of(text) == version
