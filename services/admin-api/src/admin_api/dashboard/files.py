"""The files of the built dashboard, in memory. So a request cannot read any other file of the machine."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PAGE: Final = "index.html"
NONCE_PLACEHOLDER: Final = b"CSP_NONCE"
"""The text that the build writes in the place of the nonce; see dashboard/vite.config.ts."""
_MEDIA_TYPES: Final = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
}
_COMPRESSED: Final = frozenset({".js", ".css", ".svg"})


@dataclass(frozen=True)
class File:
    """One file whose name contains a hash of its content."""

    body: bytes
    gzipped: bytes | None
    media_type: str


@dataclass(frozen=True)
class Dashboard:
    """One build of the dashboard."""

    page: bytes
    files: Mapping[str, File]
    """The files by the path of the request."""

    def page_with(self, nonce: str) -> bytes:
        return self.page.replace(NONCE_PLACEHOLDER, nonce.encode())


def load(folder: Path) -> Dashboard:
    """Reads the build. Raises `OSError` if there is none, or if it is being written."""
    page = (folder / PAGE).read_bytes()
    assets = [path for path in sorted((folder / "assets").iterdir()) if path.suffix in _MEDIA_TYPES]
    return Dashboard(page, {f"/assets/{path.name}": _file(path) for path in assets})


def _file(path: Path) -> File:
    body = path.read_bytes()
    gzipped = gzip.compress(body, mtime=0) if path.suffix in _COMPRESSED else None
    return File(body, gzipped, _MEDIA_TYPES[path.suffix])


class CurrentDashboard:
    """The build in a folder. It is read again when it has changed, so a running API serves a new build."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read_at: int | None = None
        self._dashboard: Dashboard | None = None

    def get(self) -> Dashboard | None:
        """None if the dashboard is not built."""
        try:
            changed_at = (self._folder / PAGE).stat().st_mtime_ns
            if changed_at != self._read_at:
                self._dashboard, self._read_at = load(self._folder), changed_at
        except OSError:
            self._dashboard, self._read_at = None, None
        return self._dashboard
