"""Which offsets of one partition are finished, and up to where it is safe to commit. Pure.

Messages finish in any order, but Kafka keeps one number per partition. That number is the watermark: everything
before it is finished. What is finished beyond it travels in the commit's metadata as a bit set, so that the next
owner does not do it again because of one slow message in front.
"""

import base64
import binascii
import zlib

_METADATA_LIMIT = 4000
"""Kafka's `offset.metadata.max.bytes` is 4096 by default."""


class PartitionTracker:
    """Offsets may have gaps (compaction, transaction markers): only offsets that were seen count."""

    def __init__(self) -> None:
        self._open: dict[int, None] = {}  # seen and not below the watermark, in order of arrival, which ascends
        self._finished: set[int] = set()  # those of them that are finished, behind one that is not
        self._skip: set[int] = set()  # finished by an earlier owner, not seen by us yet
        self._watermark: int | None = None

    @property
    def window(self) -> int:
        """How many offsets lie between the watermark and the newest one seen."""
        return len(self._open)

    @property
    def unfinished(self) -> int:
        """How many offsets were seen and need work yet."""
        return len(self._open) - len(self._finished)

    @property
    def watermark(self) -> int | None:
        """The first offset that is not known to be finished; None before anything was seen."""
        return self._watermark

    def start(self, offset: int) -> bool:
        """Whether this message is to be handled: not when it is in hand or finished already."""
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
        """Say that a started message needs no more work; moves the watermark as far as it can go."""
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
        """What to commit: (watermark, metadata). None while nothing was seen."""
        if self._watermark is None:
            return None
        metadata = _pack(
            {offset - self._watermark for offset in self._finished | self._skip if offset > self._watermark}
        )
        return self._watermark, metadata if len(metadata) <= _METADATA_LIMIT else ""

    def restore(self, committed: int, metadata: str) -> None:
        """Take over from the previous owner's commit. Metadata that is not ours is ignored: work is then redone."""
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
