"""A small disk for one test, which can be filled: a tmpfs."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

_BLOCK = b"\0" * 65_536


@dataclass(frozen=True)
class LimitedDisk:
    """A mounted folder with a fixed size."""

    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Fill the disk to the last byte."""
        with suppress(OSError), self._ballast.open("ab", buffering=0) as ballast:
            while ballast.write(_BLOCK):
                pass

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


@contextmanager
def limited_disk(megabytes: int) -> Iterator[LimitedDisk]:
    """A mounted disk, which is always unmounted afterwards. Skips the test if it cannot be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="candlekeep-limited-disk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0711", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    try:
        if mounted.returncode:
            pytest.skip(f"needs root to mount a tmpfs: {mounted.stderr.strip()}")
        yield LimitedDisk(folder)
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()
