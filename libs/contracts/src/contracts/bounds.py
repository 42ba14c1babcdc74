"""The limits of the values in events. Every service, Postgres and JSON can hold all values within them.

A message with a value outside these limits cannot be read, so it becomes a dead letter and changes nothing.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, StringConstraints

FIRST_INSTANT: Final = datetime(1970, 1, 1, tzinfo=UTC)
END_OF_INSTANTS: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""The end of the allowed times in events. Times are from `FIRST_INSTANT` up to, but not including, this instant."""
END_OF_MILLISECONDS: Final = int(END_OF_INSTANTS.timestamp()) * 1000
"""The same limit in milliseconds since the epoch."""

MAX_CLOCK_DIFFERENCE: Final = timedelta(hours=1)
"""The largest accepted difference between two clocks. Up to it, the newer of two fetches is chosen by their times."""
MAX_RUN_AHEAD: Final = timedelta(days=1)
"""How far in the future the start of a run may be. A later start comes from a wrong clock."""
MAX_DEADLINE: Final = timedelta(days=1)
MAX_RUN_DURATION: Final = timedelta(days=30)
"""The longest duration of a run. A run ends at its deadline, but a process may be suspended for days."""

MAX_INT: Final = 2**31 - 1
"""The maximum of Postgres' integer."""
MAX_BIGINT: Final = 2**63 - 1
"""The maximum of Postgres' bigint."""
MAX_VERSION_STEP: Final = 10_000
"""The largest accepted step between two versions of a config: see `is_outdated`."""

MAX_TIMEFRAMES: Final = 50
"""The largest number of timeframes per config, as in the API."""
MAX_MESSAGE_LENGTH: Final = 20_000
"""The longest error message of a run, in characters. It may contain one message per timeframe."""
MAX_NOTE_LENGTH: Final = 2_000
MAX_NAME_LENGTH: Final = 300
"""The longest name of a process or topic, in characters."""

_ROW_ID: Final = re.compile(r"[1-9][0-9]{0,18}")


def _storable(value: object) -> object:
    """Replace NUL characters and lone surrogates, which Postgres cannot store. The text of an exchange may contain such
    characters. They must not prevent the storage of its message.
    """
    if not isinstance(value, str):
        return value
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


STORABLE: Final = BeforeValidator(_storable)

RowId = Annotated[int, Field(gt=0, le=MAX_BIGINT)]
Count = Annotated[int, Field(ge=0, le=MAX_INT)]
Version = Annotated[int, Field(gt=0, le=MAX_INT)]
Name = Annotated[str, STORABLE, StringConstraints(max_length=MAX_NAME_LENGTH)]
Note = Annotated[str, STORABLE, StringConstraints(max_length=MAX_NOTE_LENGTH)]
Message = Annotated[str, STORABLE, StringConstraints(max_length=MAX_MESSAGE_LENGTH)]


def shortened(text: str, limit: int = MAX_MESSAGE_LENGTH) -> str:
    """The text with at most `limit` characters. Producers shorten texts whose length they do not know."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def is_outdated(version: int, known: int) -> bool:
    """Whether a config already has this version or a newer one.

    If the known version is much higher than this one, it is ignored: no config changes that often, so another program
    has written it. The next real version then replaces it. Otherwise the config would keep the wrong state
    indefinitely.
    """
    return known - MAX_VERSION_STEP < version <= known


def row_id_of(key: str) -> int:
    """The id in a Kafka key. Raises `ValueError` for any other form of text, such as `01`, `+1` or `1_0`."""
    if not _ROW_ID.fullmatch(key) or int(key) > MAX_BIGINT:
        raise ValueError(f"the key {key[:100]!r} is not an id")
    return int(key)
