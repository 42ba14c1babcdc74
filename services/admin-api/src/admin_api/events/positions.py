"""A listener's place in all live topics at once, as the text of an event's id.

Every instance of the API reads every partition, each in its own order; a place that names all partitions means the
same to all of them, so a listener may resume at another instance than it listened to.
"""

import base64
import binascii
import zlib
from collections.abc import Iterator, Mapping
from typing import Final

from admin_api.events.topics import PLACES, Place

Positions = dict[Place, int]
"""The offset of the first message not seen yet, for each of `PLACES`."""

_LAYOUT: Final = zlib.crc32(repr((PLACES, "latest_ms")).encode()).to_bytes(4)[:2]
"""Other topics, partitions or fields make other ids."""
_LARGEST: Final = 2**63 - 1


class NotAPosition(ValueError):  # noqa: N818 -- it names what is the case
    """This text is not an id of an event of ours."""


def encode(positions: Mapping[Place, int], latest_ms: int) -> str:
    """About 100 characters of base64url while topics are young, 250 when they are old.

    `latest_ms` is the largest timestamp of the messages before these positions, as far as it is known.
    """
    body = bytearray(_LAYOUT)
    for value in (*(positions[place] for place in PLACES), latest_ms):
        rest = value
        while rest > 0x7F:  # noqa: PLR2004 -- seven bits to the byte, the eighth says that more follow
            body.append(rest & 0x7F | 0x80)
            rest >>= 7
        body.append(rest)
    return base64.urlsafe_b64encode(bytes(body)).rstrip(b"=").decode()


def decode(text: str) -> tuple[Positions, int]:
    """The inverse of `encode`. Raises `NotAPosition`."""
    try:
        body = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise NotAPosition("not base64url") from error
    if body[:2] != _LAYOUT:
        raise NotAPosition("of another release, or not an id at all")
    numbers = list(_numbers(body[2:]))
    if len(numbers) != len(PLACES) + 1:
        raise NotAPosition("cut off, or too long")
    *offsets, latest_ms = numbers
    return dict(zip(PLACES, offsets, strict=True)), latest_ms


def _numbers(body: bytes) -> Iterator[int]:
    value, shift, unfinished = 0, 0, False
    for byte in body:
        value |= (byte & 0x7F) << shift
        if value > _LARGEST:
            raise NotAPosition("a number too large")
        unfinished = bool(byte & 0x80)
        if unfinished:
            shift += 7
        else:
            yield value
            value = shift = 0
    if unfinished:
        raise NotAPosition("cut off")
