"""Sign-in links: a person who opens a link in a browser is signed in. A link works once and only for some minutes.

The code of a link is signed with the bootstrap token, so only an owner of that token can make one, and nothing
is stored before it is used. The id of the new session is computed from the code. So a second use would open the same
session again, and it is refused because this session exists already.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

from admin_api.auth.identity import Unauthorized

PREFIX: Final = "ckl_"
VALID_FOR: Final = timedelta(minutes=10)
_NONCE_BYTES: Final = 16
_TIME_BYTES: Final = 8
_MAC_BYTES: Final = 32


def link_path(code: str) -> str:
    """The path of the link. The code is behind `#`, so browsers do not send it to a server, and it does not appear in
    logs.
    """
    return f"/sign-in#{code}"


def new_code(bootstrap_token: str, now: datetime) -> str:
    """A code that is valid for `VALID_FOR`."""
    expires_at = int((now + VALID_FOR).timestamp())
    payload = expires_at.to_bytes(_TIME_BYTES) + secrets.token_bytes(_NONCE_BYTES)
    return PREFIX + base64.urlsafe_b64encode(payload + _mac(bootstrap_token, payload)).decode().rstrip("=")


def check_code(code: str, bootstrap_token: str, now: datetime) -> None:
    """Raises `Unauthorized` if the code is forged or has expired."""
    text = code.removeprefix(PREFIX)
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        data = b""
    payload, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
    if len(payload) != _TIME_BYTES + _NONCE_BYTES or not hmac.compare_digest(mac, _mac(bootstrap_token, payload)):
        raise Unauthorized("malformed", "This sign-in link is not one of this API. Copy the whole link.")
    if datetime.fromtimestamp(int.from_bytes(payload[:_TIME_BYTES]), UTC) <= now:
        raise Unauthorized("expired", "This sign-in link has expired. Sign in with a token, or make a new link.")


def cookie_of(code: str, bootstrap_token: str) -> str:
    """The value of the session cookie. Only the API can compute it, because it needs the bootstrap token."""
    digest = hmac.digest(bootstrap_token.encode(), b"session of a sign-in link:" + code.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _mac(bootstrap_token: str, payload: bytes) -> bytes:
    return hmac.digest(bootstrap_token.encode(), b"sign-in link:" + payload, hashlib.sha256)
