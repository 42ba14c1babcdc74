"""A place in a list, as text that only we read: where the next page begins, and of which query.

A cursor is base64url of `[version, fingerprint of the query, sort keys of the last row...]`. It is not secret and not
signed: its values are read as the types of the sort keys and bound as parameters, so a forged one begins elsewhere.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import to_json

from admin_api.http.input_types import FilterText, QueryInstant, RowId

MAX_LENGTH: Final = 1000
"""A symbol of 200 characters of four bytes each, and what comes around it."""
_VERSION: Final = 1
_READ_AS: Final[Mapping[type, TypeAdapter[Any]]] = {
    datetime: TypeAdapter(QueryInstant),
    int: TypeAdapter(RowId),
    str: TypeAdapter(FilterText),
}
"""The types that a sort key can have, with the bounds of what Postgres takes."""


class UnusableCursor(ValueError):  # noqa: N818 -- it names what is the case
    """Not a cursor of this query; the message says what to do instead."""


def fingerprint(*, of_list: str, query: Mapping[str, Any]) -> str:
    """Short and the same for the same filters and sorting, whatever their order. `query` holds JSON's types."""
    said = json.dumps([of_list, query], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def encode(query: str, position: Sequence[Any]) -> str:
    """`query` is its fingerprint, `position` the sort keys of the last row that was shown."""
    return base64.urlsafe_b64encode(to_json([_VERSION, query, *position])).decode().rstrip("=")


def decode(cursor: str, query: str, kinds: Sequence[type]) -> tuple[Any, ...]:
    """The position, of the `kinds` of the sort keys. Raises `UnusableCursor`."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        version, made_for, *position = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise UnusableCursor(f"is not a cursor of this API; {_INSTEAD}") from error
    if version != _VERSION or made_for != query:
        raise UnusableCursor(f"was made for other filters or another sorting, which must stay the same; {_INSTEAD}")
    try:
        return tuple(_READ_AS[kind].validate_python(value) for kind, value in zip(kinds, position, strict=True))
    except ValueError as error:
        raise UnusableCursor(f"is damaged; {_INSTEAD}") from error


_INSTEAD: Final = 'take the one in the Link header (rel="next") of the page before, or leave it out to start anew'
