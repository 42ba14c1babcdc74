"""Entity tags (RFC 9110, 8.8 and 13) for optimistic locking: a caller changes only the version that it has read."""

import re
from dataclasses import dataclass
from typing import Final

from admin_api.http.errors import FieldError, InvalidInput, VersionMismatch

MAX_LENGTH: Final = 1000
PATTERN: Final = r'^(\*|(W/)?"[!#-~]*"([ \t]*,[ \t]*(W/)?"[!#-~]*")*)$'
"""A star, or a comma-separated list of entity tags."""

_WHOLE = re.compile(PATTERN[:-1] + r"\Z")
_TAG = re.compile(r'(W/)?("[!#-~]*")')


@dataclass(frozen=True)
class EntityTags:
    """The value of If-Match or If-None-Match."""

    strong: frozenset[str]
    weak: frozenset[str]
    any_version: bool = False
    """The header was `*`."""

    def match_strongly(self, tag: str) -> bool:
        """The comparison of If-Match: weak tags never match."""
        return self.any_version or tag in self.strong

    def match_weakly(self, tag: str) -> bool:
        """The comparison of If-None-Match: weak tags also match."""
        return self.any_version or tag in self.strong | self.weak


def etag(version: int) -> str:
    """The strong entity tag of a config or backfill. Every change raises its version."""
    return f'"{version}"'


def parse_tags(header: str, name: str) -> EntityTags:
    """Parses the header `name`. Raises `InvalidInput`, because a malformed precondition must not be ignored."""
    if header == "*":
        return EntityTags(frozenset(), frozenset(), any_version=True)
    if len(header) > MAX_LENGTH or not _WHOLE.match(header):
        raise InvalidInput.of(
            [FieldError(f"#/{name}", 'send an ETag from a response, such as "3" with its quotes, or *', "header")]
        )
    found = _TAG.findall(header)
    return EntityTags(
        strong=frozenset(tag for weak, tag in found if not weak), weak=frozenset(tag for weak, tag in found if weak)
    )


def require_match(expected: EntityTags | None, version: int) -> None:
    """Raises `VersionMismatch` if `expected` is given and does not contain this version."""
    if expected is None or expected.match_strongly(etag(version)):
        return
    raise VersionMismatch(
        f"Changed since it was read: the version is now {version}. Read it again before you change it.",
        extensions={"version": version},
        headers={"ETag": etag(version)},
    )
