"""Encodes and decodes cursors. A cursor is an opaque text that says where the next page of a query begins.

It is base64url of `[version, fingerprint of the query, sort keys of the last row...]`. It is neither secret nor signed.
Its values are validated by the types of the sort keys and bound as parameters, so a forged cursor is harmless.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, TypeAdapter
from pydantic_core import to_json

from admin_api.http.input_types import QueryInstant, RowId

MAX_KEY_LENGTH: Final = 500
"""The longest text in a cursor: a rejected row."""
MAX_LENGTH: Final = 4500
"""The longest cursor: a text of this length with six bytes for each character, encoded as base64, and the other
parts.
"""
_VERSION: Final = 1


def _storable(text: str) -> str:
    """Refuse characters that Postgres cannot store, because no row contains them."""
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("the text has a NUL character or a surrogate")
    return text


_KeyText = Annotated[str, Field(max_length=MAX_KEY_LENGTH), AfterValidator(_storable)]
_KEY_TYPES: Final[Mapping[type, TypeAdapter[Any]]] = {
    datetime: TypeAdapter(QueryInstant),
    int: TypeAdapter(RowId),
    str: TypeAdapter(_KeyText),
}
"""Validators for the types of sort keys, with the limits of Postgres."""


class InvalidCursor(ValueError):  # noqa: N818 -- the name states the problem
    """The text is not a cursor of this query. The message says how to get a valid cursor."""


def fingerprint(*, of_list: str, query: Mapping[str, Any]) -> str:
    """A short hash of filters and sorting, independent of their order. `query` contains only JSON types."""
    text = json.dumps([of_list, query], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def encode(query: str, position: Sequence[Any]) -> str:
    """A cursor. `query` is the query's fingerprint; `position` is the sort keys of the last row of the page."""
    return base64.urlsafe_b64encode(to_json([_VERSION, query, *position])).decode().rstrip("=")


def decode(cursor: str, query: str, kinds: Sequence[type]) -> tuple[Any, ...]:
    """The position of a cursor. `kinds` are the types of the sort keys. Raises `InvalidCursor`."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        version, made_for_query, *position = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise InvalidCursor(f"is not a cursor of this API; {_INSTEAD}") from error
    if version != _VERSION or made_for_query != query:
        raise InvalidCursor(f"was made for other filters or another sorting, which must stay the same; {_INSTEAD}")
    try:
        return tuple(_KEY_TYPES[kind].validate_python(value) for kind, value in zip(kinds, position, strict=True))
    except ValueError as error:
        raise InvalidCursor(f"is damaged; {_INSTEAD}") from error


_INSTEAD: Final = (
    'use the cursor in the Link header (rel="next") of the previous page, or omit it to start at the first page'
)
