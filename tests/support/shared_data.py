"""Recorded data and documents outside the repository. Tests that need them are skipped if they are missing."""

import os
from pathlib import Path

import pytest

_DEFAULT_FOLDER = Path(__file__).parents[3] / "shared"


def shared_file(name: str) -> Path:
    """A file or folder of the shared material, such as `data/lean`; skips the test if it is missing."""
    data = os.environ.get("CANDLEKEEP_SHARED_DATA")
    root = Path(data).parent if data else _DEFAULT_FOLDER
    if not (root / name).exists():
        pytest.skip(f"needs {name} of the shared material beside the repository (or CANDLEKEEP_SHARED_DATA)")
    return root / name
