"""A wall clock that lies to some processes, by libfaketime; their monotonic clock goes on as it should."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


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
            "FAKETIME_CACHE_DURATION": "1",
        }

    def be_ahead(self, seconds: float) -> None:
        """By so much; 0 is the truth, a negative number is behind."""
        written = self.file.with_suffix(".new")
        written.write_text(f"{seconds:+.0f}\n")
        os.replace(written, self.file)  # noqa: PTH105 -- at once: a reader finds the old or the new one
