"""The verifier that Postgres stores for a password (SCRAM-SHA-256, RFC 5803)."""

import hashlib
import hmac
import os
from base64 import b64encode
from typing import Final

_ITERATIONS: Final = 4096
"""The number of iterations, which is the default of Postgres. The passwords are random, so more iterations would add no
safety.
"""


def verifier(password: str, salt: bytes | None = None) -> str:
    """The text for `ALTER ROLE ... PASSWORD`. The password must be ASCII, which SASLprep leaves as it is."""
    salt = os.urandom(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, _ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    keys = (hashlib.sha256(client_key).digest(), server_key)
    stored, server = (b64encode(key).decode() for key in keys)
    return f"SCRAM-SHA-256${_ITERATIONS}:{b64encode(salt).decode()}${stored}:{server}"
