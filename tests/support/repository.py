"""The files of the repository, without those that tools write while tests run."""

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_OUR_HIDDEN = {".ci", ".github"}
_NOT_OURS = {"node_modules", "__pycache__", "build", "dist", "venv"}


def own_files(root: Path = ROOT) -> Iterator[Path]:
    """All files below `root`, ascending within each folder, without hidden folders, dependencies and results of builds.

    Other processes may write in the folders that are left out, and remove files there, at any time.
    """
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(
            name for name in folders if name in _OUR_HIDDEN or not (name in _NOT_OURS or name[0] == ".")
        )
        yield from (Path(folder, name) for name in sorted(names))


def _is_left_out(folder: str) -> bool:
    return folder in _NOT_OURS or folder.startswith(".")
