"""A client's position in all streamed topics at once, as the text of an event's id.

Every instance of the API reads every partition, but not in the same order. An id contains the position in every
partition, so it means the same to every instance, and a client may resume at any of them.
"""

import base64
import binascii
import zlib
from collections.abc import Iterator, Mapping
from typing import Final

from admin_api.events.topics import PARTITIONS, Partition

Positions = dict[Partition, int]
"""The offset of the first message not seen yet, for each of `PARTITIONS`."""

_LAYOUT: Final = zlib.crc32(repr((PARTITIONS, "latest_ms")).encode()).to_bytes(4)[:2]
"""A description of the layout. If topics, partitions or fields change, it changes, too, and old ids are refused."""
_LARGEST: Final = 2**63 - 1


class NotAPosition(ValueError):  # noqa: N818 -- the name states the problem
    """The text is not an event id of this API."""


def encode(positions: Mapping[Partition, int], latest_ms: int) -> str:
    """Base64url, about 100 characters with small offsets and at most 250 with large ones.

    `latest_ms` is the largest known timestamp of the messages before these positions.
    """
    body = bytearray(_LAYOUT)
    for value in (*(positions[partition] for partition in PARTITIONS), latest_ms):
        rest = value
        while rest > 0x7F:  # noqa: PLR2004 -- seven bits per byte; the eighth bit marks that more bytes follow
            body.append(rest & 0x7F | 0x80)
            rest >>= 7
        body.append(rest)
    return base64.urlsafe_b64encode(bytes(body)).rstrip(b"=").decode()


def decode(text: str) -> tuple[Positions, int]:
    """The inverse of `encode`. Raises `NotAPosition`."""
    try:
        body = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise NotAPosition("it is not base64url") from error
    if body[:2] != _LAYOUT:
        raise NotAPosition("it is from another release, or no event id")
    numbers = list(_numbers(body[2:]))
    if len(numbers) != len(PARTITIONS) + 1:
        raise NotAPosition("it is truncated or too long")
    *offsets, latest_ms = numbers
    return dict(zip(PARTITIONS, offsets, strict=True)), latest_ms


def _numbers(body: bytes) -> Iterator[int]:
    value, shift, unfinished = 0, 0, False
    for byte in body:
        value |= (byte & 0x7F) << shift
        if value > _LARGEST:
            raise NotAPosition("it contains a number that is too large")
        unfinished = bool(byte & 0x80)
        if unfinished:
            shift += 7
        else:
            yield value
            value = shift = 0
    if unfinished:
        raise NotAPosition("it is truncated")
