"""The build of the dashboard: when it is repeated, and with which Node."""

from pathlib import Path

import pytest

from local_stack.dashboard import digest_of, is_supported, sources, version_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("package.json", "src/main.tsx", "dist/index.html", "node_modules/react/index.js", ".build-lock"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_only_sources_are_part_of_the_digest(folder: Path) -> None:
    assert [str(path.relative_to(folder)) for path in sources(folder)] == ["package.json", "src/main.tsx"]


def test_a_changed_added_or_renamed_source_changes_the_digest(folder: Path) -> None:
    digests = [digest_of(folder, sources(folder))]
    (folder / "src/main.tsx").write_text("changed")
    digests.append(digest_of(folder, sources(folder)))
    (folder / "src/new.ts").write_text("")
    digests.append(digest_of(folder, sources(folder)))
    (folder / "src/new.ts").rename(folder / "src/old.ts")
    digests.append(digest_of(folder, sources(folder)))
    (folder / "src/pages").mkdir()
    (folder / "src/old.ts").rename(folder / "src/pages/old.ts")
    digests.append(digest_of(folder, sources(folder)))
    assert len(set(digests)) == len(digests)
    (folder / "dist/index.html").write_text("built again")
    assert digest_of(folder, sources(folder)) == digests[-1]


@pytest.mark.parametrize(
    ("text", "version"), [("v20.19.1\n", (20, 19, 1)), ("v24.0.0-nightly", ()), ("", ()), ("node: error", ())]
)
def test_the_version_of_node_is_read(text: str, version: tuple[int, ...]) -> None:
    assert version_of(text) == version


@pytest.mark.parametrize(
    ("version", "supported"),
    [
        ((18, 20, 4), False),
        ((20, 18, 9), False),
        ((20, 19, 0), True),
        ((20, 20, 2), True),
        ((21, 7, 3), False),
        ((22, 11, 0), False),
        ((22, 12, 0), True),
        ((24, 19, 0), True),
        ((), False),
    ],
)
def test_the_node_of_the_machine_is_used_only_if_the_build_tools_run_on_it(
    version: tuple[int, ...], supported: bool
) -> None:
    assert is_supported(version) is supported
