"""The format of API tokens: ck_<public id>_<secret>_<checksum>.

With the prefix and the checksum, a program such as a secret scanner can identify a token without a database. The public
id finds its row. The secret has 256 random bits, so a plain SHA-256 hash of it is safe to store.
"""

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field
from typing import Final

_PUBLIC_ID_LENGTH: Final = 12
_LETTERS: Final = string.ascii_letters + string.digits
_FORM: Final = re.compile(r"(ck_([0-9A-Za-z]{12})_([0-9A-Za-z_-]{43}))_([0-9a-f]{8})")
PREFIX: Final = "ck_"


@dataclass(frozen=True)
class ParsedToken:
    """A token with a valid format and checksum. It contains the hash of the secret, not the secret."""

    public_id: str
    secret_hash: bytes


@dataclass(frozen=True)
class MintedToken(ParsedToken):
    """A new token. `text` is the complete token, which is never stored."""

    text: str = field(repr=False)


def mint() -> MintedToken:
    public_id = "".join(secrets.choice(_LETTERS) for _ in range(_PUBLIC_ID_LENGTH))
    secret = secrets.token_urlsafe(32)
    body = f"{PREFIX}{public_id}_{secret}"
    return MintedToken(public_id, _hash(secret), f"{body}_{_checksum(body)}")


def parse(text: str) -> ParsedToken | None:
    """The parts of a token; None if the format or the checksum is wrong. Does not check the secret."""
    form = _FORM.fullmatch(text)
    if form is None:
        return None
    body, public_id, secret, checksum = form.groups()
    return ParsedToken(public_id, _hash(secret)) if checksum == _checksum(body) else None


def shown_prefix(public_id: str) -> str:
    """The beginning of a token, which people can use to recognise it."""
    return f"{PREFIX}{public_id}"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
