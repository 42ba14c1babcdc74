"""The credentials that were valid on this instance before."""

from collections import OrderedDict
from typing import Final

_REMEMBERED: Final = 10_000


class KnownCredentials:
    """Which credentials, by their hash, were right here before, the latest `_REMEMBERED`: never that they still are."""

    def __init__(self) -> None:
        self._hashes: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, credential_hash: object) -> bool:
        return credential_hash in self._hashes

    def add(self, credential_hash: bytes) -> None:
        self._hashes[credential_hash] = None
        self._hashes.move_to_end(credential_hash)
        if len(self._hashes) > _REMEMBERED:
            self._hashes.popitem(last=False)
