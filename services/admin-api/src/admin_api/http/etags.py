"""Entity tags (RFC 9110, 8.8 and 13) for optimistic locking: a caller changes only the version that it has read.

A tag is the version, such as `"3"`, or the version with a digest, such as `"3.5f2a"`, if the response also has values
that change without a new version.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
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

    def match_version(self, version: int) -> bool:
        """The comparison of If-Match: weak tags never match. The digest of the other values is ignored, because a
        change by the caller neither reads nor replaces these values.
        """
        return self.any_version or any(tag.strip('"').partition(".")[0] == str(version) for tag in self.strong)

    def match_weakly(self, tag: str) -> bool:
        """The comparison of If-None-Match: weak tags also match."""
        return self.any_version or tag in self.strong | self.weak


def etag(version: int, other: str | None = None) -> str:
    """The strong entity tag of a config or backfill. Every change raises its version. `other`: the values of the
    response that change without a new version, as text.
    """
    return f'"{version}"' if other is None else f'"{version}.{sha256(other.encode()).hexdigest()[:16]}"'


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
    if expected is None or expected.match_version(version):
        return
    raise VersionMismatch(
        f"Changed since it was read: the version is now {version}. Read it again before you change it.",
        extensions={"version": version},
        headers={"ETag": etag(version)},
    )
