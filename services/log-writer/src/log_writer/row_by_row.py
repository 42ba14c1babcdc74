"""Changes many rows at once.

If Postgres refuses the change, the rows are changed in smaller parts, so that one bad row does not prevent the change
of the others.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from runtime.database import is_transient
from runtime.logs import log

T = TypeVar("T")


class Parts(NamedTuple):
    """The result of `in_parts`."""

    changed: int
    failed: int


async def in_parts(keys: Sequence[T], change: Callable[[Sequence[T]], Awaitable[int]], what: str) -> Parts:
    """Call `change` with all keys. After an error that the data causes, call it with each half of the keys, and so on
    down to single keys.

    `change` must be one transaction. It returns the number of changed rows. Keys that fail alone are logged and left
    out. Raises other errors, such as those of an outage. `what` is the name of the rows in the log.
    """
    parts, changed, failures = [keys] if keys else [], 0, list[tuple[T, Exception]]()
    while parts:
        part = parts.pop()
        try:
            changed += await change(part)
        except Exception as error:
            if is_transient(error):
                raise
            if len(part) == 1:
                failures.append((part[0], error))
            else:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
    if failures:
        key, first_error = failures[0]
        log.error(
            f"Some rows were left out: {what}. The runbook says how to correct them",
            action="rows_left_out",
            rows=len(failures),
            first=str(key),
            error=repr(first_error)[:500],
        )
    return Parts(changed, len(failures))
