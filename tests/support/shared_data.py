"""Recorded data and documents that lie beside the repository, not in it. Tests that need them skip without."""

import os
from pathlib import Path

import pytest

_BESIDE_THE_REPOSITORY = Path(__file__).parents[3] / "shared"


def shared_file(name: str) -> Path:
    """A file or folder of the shared material, such as `data/lean`; skips the test when it is not there."""
    data = os.environ.get("CANDLEKEEP_SHARED_DATA")
    root = Path(data).parent if data else _BESIDE_THE_REPOSITORY
    if not (root / name).exists():
        pytest.skip(f"needs {name} of the shared material beside the repository (or CANDLEKEEP_SHARED_DATA)")
    return root / name
