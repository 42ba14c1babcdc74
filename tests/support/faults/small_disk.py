"""A disk of our own that is easily full: a tmpfs."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

_PIECE = b"\0" * 65_536


@dataclass(frozen=True)
class SmallDisk:
    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """To the last byte."""
        with suppress(OSError), self._ballast.open("ab", buffering=0) as ballast:
            while ballast.write(_PIECE):
                pass

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    @property
    def free_bytes(self) -> int:
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_bsize


@contextmanager
def small_disk(megabytes: int) -> Iterator[SmallDisk]:
    """Unmounted in all cases; skips the test where none can be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="candlekeep-small-disk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0711", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    try:
        if mounted.returncode:
            pytest.skip(f"needs to mount a tmpfs, which only root may: {mounted.stderr.strip()}")
        yield SmallDisk(folder)
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()
