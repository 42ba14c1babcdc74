"""The paths that need no credential."""

from typing import Final

PUBLIC_PATHS: Final = frozenset({"/", "/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"})
_PUBLIC_FOLDER: Final = "/docs/"
"""The static files of the documentation page."""


def is_public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(_PUBLIC_FOLDER)
