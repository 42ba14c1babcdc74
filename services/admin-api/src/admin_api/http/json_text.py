"""Parses JSON text of a caller: refuses names that occur twice, and limits the work."""

import json
from typing import Any, Final

MAX_VALUES: Final = 400_000
"""The largest number of values in a text. It is enough for the largest file of configs: ten thousand entries with forty
values each.
"""
MAX_MEMBERS: Final = 50
"""The largest number of members of one object. No object of a request has more fields. It is limited, because each
unknown field causes an error message.
"""


class RefusedJson(json.JSONDecodeError):
    """The text is valid JSON, but is not accepted. The error has no position, because the parser does not report it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, "", -1)


def parse_json(text: bytes, *, max_members: int = MAX_MEMBERS) -> Any:
    """The value. The time is proportional to the length of the text. Raises `ValueError` and `RecursionError`.

    The count of values includes the commas and brackets inside of strings, so it may be too large but never too small.
    """
    if text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_VALUES:
        raise RefusedJson(f"the text has more than {MAX_VALUES} commas and brackets")

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(pairs) > max_members:
            raise RefusedJson(f"an object has more than {max_members} members")
        members = dict(pairs)
        if len(members) < len(pairs):
            raise RefusedJson(f"an object contains {_first_repeated(pairs)[:100]!r} twice")
        return members

    return json.loads(text, object_pairs_hook=object_of)


def reason_of(error: ValueError) -> str:
    """The message for a caller, with the position if it is known."""
    return error.msg if isinstance(error, RefusedJson) else str(error)


def _first_repeated(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    return next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
