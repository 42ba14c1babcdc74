"""A wall clock that lies to some processes, by libfaketime; their monotonic clock goes on as it should."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REREAD_SECONDS = 1.0
"""How long a process may go on with the time that the file said before."""


@dataclass(frozen=True)
class LyingClock:
    """What processes with this `environment` take for the time follows the file, within a second."""

    file: Path
    library: Path

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_CACHE_DURATION": f"{REREAD_SECONDS:.0f}",
        }

    def is_preloaded_in(self, pid: int) -> bool:
        """Whether the process has loaded the library: a loader that cannot find it only warns."""
        return self.library.name in Path(f"/proc/{pid}/maps").read_text()

    def ahead_by(self) -> float:
        """Seconds by which the clock of a Python process with this environment is ahead."""
        told = subprocess.run(
            [sys.executable, "-c", "import time; print(time.time())"],
            env={**os.environ, **self.environment},
            check=True,
            capture_output=True,
            text=True,
        )
        return float(told.stdout) - time.time()

    def be_ahead(self, seconds: float) -> None:
        """By so much; 0 is the truth, a negative number is behind."""
        written = self.file.with_suffix(".new")
        written.write_text(f"{seconds:+.0f}\n")
        os.replace(written, self.file)  # noqa: PTH105 -- at once: a reader finds the old or the new one
