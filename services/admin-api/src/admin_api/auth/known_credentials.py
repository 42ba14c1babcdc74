"""The credentials that this instance has verified before."""

from collections import OrderedDict
from typing import Final

_MAX_ENTRIES: Final = 10_000


class KnownCredentials:
    """The hashes of the latest `_MAX_ENTRIES` credentials that were right. They may have ended since."""

    def __init__(self) -> None:
        self._hashes: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, credential_hash: object) -> bool:
        return credential_hash in self._hashes

    def add(self, credential_hash: bytes) -> None:
        self._hashes[credential_hash] = None
        self._hashes.move_to_end(credential_hash)
        if len(self._hashes) > _MAX_ENTRIES:
            self._hashes.popitem(last=False)
