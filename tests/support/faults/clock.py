"""A wrong wall clock for some processes, with libfaketime. Their monotonic clock stays correct."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REREAD_SECONDS = 1.0
"""A process may use the previous offset for this long after a change of the file."""


@dataclass(frozen=True)
class FakeClock:
    """The clock of all processes with this `environment`. The file contains its offset."""

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
        """Whether the process has loaded the library. A loader that cannot find it only prints a warning."""
        return self.library.name in Path(f"/proc/{pid}/maps").read_text()

    def read_offset(self) -> float:
        """Seconds by which the clock is ahead, measured in a Python process with this environment."""
        output = subprocess.run(
            [sys.executable, "-c", "import time; print(time.time())"],
            env={**os.environ, **self.environment},
            check=True,
            capture_output=True,
            text=True,
        )
        return float(output.stdout) - time.time()

    def set_offset(self, seconds: float) -> None:
        """Set the clock ahead by this many seconds; 0 is the correct time, a negative number is behind."""
        written = self.file.with_suffix(".new")
        written.write_text(f"{seconds:+.0f}\n")
        os.replace(written, self.file)  # noqa: PTH105 -- atomic: a reader finds the old or the new file
