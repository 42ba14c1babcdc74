"""Records which offsets of one partition are finished, and which offset may be committed. No I/O.

Messages finish in any order, but Kafka stores one number per partition. This number is the watermark: all messages
before it are finished. The finished offsets above it are stored in the commit's metadata, as a bit set. Without them,
the next owner would repeat those messages because of one slow message before them.
"""

import base64
import binascii
import zlib

_METADATA_LIMIT = 4000
"""Kafka's `offset.metadata.max.bytes` is 4096 by default."""


class PartitionTracker:
    """Counts only offsets that were read: a partition may have gaps (compaction, transaction markers)."""

    def __init__(self) -> None:
        self._open: dict[int, None] = {}  # read and not below the watermark, in ascending order
        self._finished: set[int] = set()  # the finished ones among them, above an unfinished one
        self._skip: set[int] = set()  # finished by an earlier owner, not read by this one yet
        self._watermark: int | None = None

    @property
    def window(self) -> int:
        """Number of offsets that were read, from the watermark to the newest one."""
        return len(self._open)

    @property
    def unfinished(self) -> int:
        """Number of offsets that were read and are not finished."""
        return len(self._open) - len(self._finished)

    @property
    def watermark(self) -> int | None:
        """The first offset that is not known to be finished; None before the first message was read."""
        return self._watermark

    def start(self, offset: int) -> bool:
        """Returns whether to handle this message. False if it is in flight or finished already."""
        if offset in self._open or (self._watermark is not None and offset < self._watermark):
            return False
        if self._watermark is None:
            self._watermark = offset
        self._open[offset] = None
        if offset in self._skip:
            self._skip.discard(offset)
            self.finish(offset)
            return False
        return True

    def finish(self, offset: int) -> None:
        """Mark a started message as finished, and raise the watermark as far as possible."""
        self._finished.add(offset)
        while self._open:
            head = next(iter(self._open))
            if head not in self._finished:
                self._watermark = head
                return
            del self._open[head]
            self._finished.discard(head)
            self._watermark = head + 1

    def snapshot(self) -> tuple[int, str] | None:
        """The commit: (watermark, metadata). None before the first message was read."""
        if self._watermark is None:
            return None
        metadata = _pack(
            {offset - self._watermark for offset in self._finished | self._skip if offset > self._watermark}
        )
        return self._watermark, metadata if len(metadata) <= _METADATA_LIMIT else ""

    def restore(self, committed: int, metadata: str) -> None:
        """Continue from the previous owner's commit. Metadata of another program is ignored."""
        self._skip |= {committed + distance for distance in _unpack(metadata)} - self._open.keys()


def _pack(distances: set[int]) -> str:
    if not distances:
        return ""
    bits = sum(1 << distance for distance in distances)
    raw = bits.to_bytes((bits.bit_length() + 7) // 8, "little")
    return base64.b85encode(zlib.compress(raw)).decode()


def _unpack(metadata: str) -> set[int]:
    try:
        bits = int.from_bytes(zlib.decompress(base64.b85decode(metadata)), "little") if metadata else 0
    except (ValueError, binascii.Error, zlib.error):
        return set()
    return {distance for distance in range(bits.bit_length()) if bits >> distance & 1}
