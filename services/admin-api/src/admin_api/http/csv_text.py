"""CSV for spreadsheets and programs."""

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_lines(rows: Iterable[Iterable[Any]]) -> str:
    """One line per row, in the format of RFC 4180.

    Times are in ISO 8601, and None is an empty cell. Text that looks like a formula is escaped.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    for row in rows:
        writer.writerow([cell(value) for value in row])
    return text.getvalue()


def cell(value: Any) -> Any:
    """The value as one cell. A spreadsheet executes a text that begins like a formula, so it gets an apostrophe."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value
