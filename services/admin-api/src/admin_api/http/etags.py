"""Entity tags (RFC 9110, 8.8 and 13): who changes a config changes the version that they have seen."""

import re
from dataclasses import dataclass
from typing import Final

from admin_api.http.errors import FieldError, InvalidInput, VersionMismatch

MAX_LENGTH: Final = 1000
PATTERN: Final = r'^(\*|(W/)?"[!#-~]*"([ \t]*,[ \t]*(W/)?"[!#-~]*")*)$'
"""A star, or entity tags with commas between."""

_WHOLE = re.compile(PATTERN[:-1] + r"\Z")
_TAG = re.compile(r'(W/)?("[!#-~]*")')


@dataclass(frozen=True)
class EntityTags:
    """The value of If-Match or If-None-Match."""

    strong: frozenset[str]
    weak: frozenset[str]
    anything: bool = False
    """It was `*`."""

    def match_strongly(self, tag: str) -> bool:
        """As If-Match compares: what only resembles the wanted version is not it."""
        return self.anything or tag in self.strong

    def match_weakly(self, tag: str) -> bool:
        """As If-None-Match compares: a cache may keep what it has."""
        return self.anything or tag in self.strong | self.weak


def etag(version: int) -> str:
    """The strong tag of a config: its version, which every change raises."""
    return f'"{version}"'


def parse_tags(header: str, name: str) -> EntityTags:
    """Raises `InvalidInput`, naming the header: a precondition that cannot be read must not be taken as absent."""
    if header == "*":
        return EntityTags(frozenset(), frozenset(), anything=True)
    if len(header) > MAX_LENGTH or not _WHOLE.match(header):
        raise InvalidInput.of(
            [FieldError(f"#/{name}", 'send an ETag as it was answered, such as "3" with its quotes, or *', "header")]
        )
    found = _TAG.findall(header)
    return EntityTags(
        strong=frozenset(tag for weak, tag in found if not weak), weak=frozenset(tag for weak, tag in found if weak)
    )


def require_match(wanted: EntityTags | None, version: int) -> None:
    """Raise `Stale` unless the caller has seen this version, or did not say which one it has seen."""
    if wanted is None or wanted.match_strongly(etag(version)):
        return
    raise VersionMismatch(
        f"The config has changed: it is at version {version} now. Read it again, and decide again.",
        extensions={"version": version},
        headers={"ETag": etag(version)},
    )
