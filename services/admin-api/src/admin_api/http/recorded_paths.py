"""Request paths in the form in which logs and the audit log contain them."""

import re
from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.types import Scope

_LENGTH: Final = 200
_TOKEN: Final = re.compile(r"(ck_[0-9A-Za-z]{12})_[0-9A-Za-z_-]+")
_OPAQUE: Final = re.compile(r"[^\s;=,]{16,}")
"""Matches a part of a credential header that may be secret. Shorter parts are names and schemes."""


def recorded_path(scope: Scope) -> str:
    """The path without credentials: a faulty program may put its token into the path instead of an id.

    The secrets of API tokens and all parts of the request's own credential are removed. The rest is percent-encoded and
    cut at 200 characters.
    """
    path = _TOKEN.sub(r"\1_...", scope["path"])
    headers = Headers(scope=scope)
    for header in (*headers.getlist("authorization"), *headers.getlist("cookie")):
        for part in _OPAQUE.findall(header):
            path = path.replace(part, "...")
    return quote(path)[:_LENGTH]
