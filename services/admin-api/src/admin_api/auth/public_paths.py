"""What anybody may ask for."""

from typing import Final

PUBLIC_PATHS: Final = frozenset({"/", "/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"})
_PUBLIC_FOLDER: Final = "/docs/"
"""The documentation page's own files."""


def is_public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(_PUBLIC_FOLDER)
