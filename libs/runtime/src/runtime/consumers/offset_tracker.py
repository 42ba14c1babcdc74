"""Records which offsets of one partition are finished, and which offset may be committed. No I/O.

Messages finish in any order, but Kafka stores one offset per partition. This offset is the watermark: all messages
before it are finished. The finished offsets above it are stored in the commit's metadata, as a bit set. Without them,
the next owner would repeat those messages because of one slow message before them.
"""

import base64
import binascii
import zlib
from collections import OrderedDict

_METADATA_LIMIT = 4000
"""Kafka's `offset.metadata.max.bytes` is 4096 by default."""


class PartitionTracker:
    """Stores only the unfinished offsets, so its size does not depend on the distance between them.

    Every other offset from the watermark to the position is finished, or does not exist: a partition may have gaps
    (compaction, transaction markers).
    """

    def __init__(self) -> None:
        self._unfinished: OrderedDict[int, None] = OrderedDict()  # in ascending order
        self._position: int | None = None
        self._restored_from, self._restored = 0, b""  # the offsets that an earlier owner has finished, as a bit set

    @property
    def unfinished(self) -> int:
        """Number of offsets that were read and are not finished."""
        return len(self._unfinished)

    @property
    def position(self) -> int | None:
        """The offset after the newest one that was read; None before the first message was read."""
        return self._position

    @property
    def watermark(self) -> int | None:
        """The first offset that is not known to be finished; None before the first message was read."""
        return next(iter(self._unfinished), self._position)

    def start(self, offset: int) -> bool:
        """Record that this message was read. Returns whether to handle it: False if it is in flight or finished
        already.
        """
        if self._position is not None and offset < self._position:
            return False
        self._position = offset + 1
        if self._was_finished(offset):
            return False
        self._unfinished[offset] = None
        return True

    def finish(self, offset: int) -> None:
        """Mark a started message as finished."""
        self._unfinished.pop(offset, None)

    def snapshot(self) -> tuple[int, str] | None:
        """The commit: (watermark, metadata). None before the first message was read."""
        if (watermark := self.watermark) is None:
            return None
        return watermark, _pack(self._finished_from(watermark))

    def restore(self, committed: int, metadata: str) -> None:
        """Continue from the previous owner's commit. Metadata of another program is ignored."""
        self._restored_from, self._restored = committed, _unpack(metadata)

    def _was_finished(self, offset: int) -> bool:
        byte, bit = divmod(offset - self._restored_from, 8)
        return 0 <= byte < len(self._restored) and bool(self._restored[byte] >> bit & 1)

    def _finished_from(self, watermark: int) -> int:
        """Bit n is set if the offset `watermark + n` is finished."""
        assert self._position is not None  # noqa: S101 -- there is a watermark
        read = self._position - watermark
        bits = bytearray(((1 << read) - 1).to_bytes((read + 7) // 8, "little"))
        for offset in self._unfinished:
            byte, bit = divmod(offset - watermark, 8)
            bits[byte] &= ~(1 << bit)
        restored, distance = int.from_bytes(self._restored, "little"), self._restored_from - watermark
        restored = restored << distance if distance >= 0 else restored >> -distance
        # only the bits of `restored` from the position on are used
        return int.from_bytes(bits, "little") | restored >> read << read


def _pack(bits: int) -> str:
    """The bit set as text. If it is too long, only the first bits are stored. Then the next owner repeats the messages
    of the other bits.
    """
    raw = bits.to_bytes((bits.bit_length() + 7) // 8, "little")
    while raw:
        packed = base64.b85encode(zlib.compress(raw)).decode()
        if len(packed) <= _METADATA_LIMIT:
            return packed
        raw = raw[: len(raw) // 2]
    return ""


def _unpack(metadata: str) -> bytes:
    try:
        return zlib.decompress(base64.b85decode(metadata)) if metadata else b""
    except (ValueError, binascii.Error, zlib.error):
        return b""
