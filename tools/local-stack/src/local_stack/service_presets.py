"""Keeps the services of packages off while apt-get installs these packages.

Debian enables and starts a package's services when it installs the package. A make target needs only the programs.

The policy is a preset of systemd. `deb-systemd-helper` asks the presets when it enables the units of a package for the
first time, and `deb-systemd-invoke` starts no unit that is disabled. Units of packages that are installed already do
not change. `/usr/sbin/policy-rc.d` was rejected: it prevents the start only, so the units would start at the next
boot, and if it is not removed, it stays. A preset in /run ends with the next boot at the latest.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

PRESET_FOLDERS = (Path("/run/systemd/system-preset"), Path("/run/systemd/user-preset"))
"""Presets of units of the system, and of units of each user."""
_NAME = f"00-candlekeep-{os.getpid()}.preset"
"""Of each process, because several may install packages at the same time. The first file that matches a unit decides,
in the order of the names.
"""
_PRESET = """# Candlekeep wrote this file while it installed packages for a make target. Without that, delete the file.
disable *
"""


@contextlib.contextmanager
def services_off() -> Iterator[Mapping[str, str]]:
    """Packages that are installed in this block neither enable nor start their services.

    Yields environment variables for apt-get. Raises OSError, before the block, if a preset cannot be written.
    """
    presets = [folder / _NAME for folder in PRESET_FOLDERS]
    made: list[Path] = []
    try:
        for preset in presets:
            made += [folder for folder in preset.parents if not folder.exists()]
            preset.parent.mkdir(parents=True, exist_ok=True)
            preset.write_text(_PRESET)
        # Without systemd, invoke-rc.d starts the services of the current runlevel. In runlevel 1 there are none.
        yield {**os.environ, "RUNLEVEL": "1", "PREVLEVEL": "N"}
    finally:
        for preset in presets:
            preset.unlink(missing_ok=True)
        for folder in sorted(made, reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
