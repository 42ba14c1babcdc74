"""Stored dead letters: their ids, filters and display. No I/O."""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from typing_extensions import override

from contracts.dead_letters import DeadLetter
from runtime.printable import printable

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LEAST_ERROR_WIDTH = 30
_HEX_BYTES = 64
_REPLACED = "\N{REPLACEMENT CHARACTER}"
"""The character that replaces a control character, so that a message cannot control the terminal."""


@dataclass(frozen=True, order=True)
class DeadLetterId:
    """Partition and offset of a dead letter in its topic, written as `1-42`."""

    partition: int
    offset: int

    @override
    def __str__(self) -> str:
        return f"{self.partition}-{self.offset}"

    @staticmethod
    def parse(text: str) -> "DeadLetterId":
        """Raises `ValueError` if the text is not an id."""
        if not re.fullmatch(r"\d{1,9}-\d{1,18}", text, re.ASCII):
            raise ValueError(f"{text!r} is not the id of a dead letter, such as 1-42")
        partition, offset = text.split("-")
        return DeadLetterId(int(partition), int(offset))


@dataclass(frozen=True)
class StoredDeadLetter:
    """A dead letter with its id."""

    id: DeadLetterId
    letter: DeadLetter

    @property
    def source(self) -> str:
        """Topic, partition and offset of the message. All dead letters of one message have the same source."""
        return f"{self.letter.source_topic}/{self.letter.source_partition}/{self.letter.source_offset}"


@dataclass(frozen=True, kw_only=True)
class DeadLetterFilter:
    """Conditions for dead letters.

    A condition that is None matches every dead letter. Times are compared with the time of storage.
    """

    topic: str | None = None
    """The source topic, with or without this system's prefix."""
    prefix: str = ""
    since: datetime | None = None
    until: datetime | None = None
    """Exclusive."""

    def matches(self, letter: DeadLetter) -> bool:
        return (
            (self.topic is None or letter.source_topic in {self.topic, self.prefix + self.topic})
            and (self.since is None or letter.occurred_at >= self.since)
            and (self.until is None or letter.occurred_at < self.until)
        )


def parse_time(text: str, now: datetime) -> datetime:
    """A time in ISO 8601 (UTC if it has no time zone), or an age: 90s, 30m, 1h, 7d. Raises `ValueError`."""
    try:
        if age := re.fullmatch(r"(\d+)([smhd])", text.strip(), re.ASCII):
            return now - timedelta(**{_UNITS[age.group(2)]: int(age.group(1))})
        time = datetime.fromisoformat(text.strip())
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{text!r} is neither a time such as 2026-05-04T12:00 (UTC) nor an age such as 90s, 30m, 1h or 7d"
        ) from error


def table(letters: Sequence[StoredDeadLetter], width: int) -> list[str]:
    """A heading and one line per dead letter. Errors are shortened so that a line fits into the width."""
    heading = ("id", "stored (UTC)", "source", "consumer", "tries", "error")
    rows = [heading, *(_row(each) for each in letters)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heading) - 1)]
    room = max(_LEAST_ERROR_WIDTH, width - sum(widths) - 2 * len(widths))
    return [
        "  ".join([*(cell.ljust(size) for cell, size in zip(row, widths, strict=False)), _cut(row[-1], room)]).rstrip()
        for row in rows
    ]


def _row(stored: StoredDeadLetter) -> tuple[str, ...]:
    letter = stored.letter
    time = letter.occurred_at.strftime("%Y-%m-%d %H:%M:%S")
    return (str(stored.id), time, stored.source, letter.consumer, str(letter.attempts), letter.error)


def _cut(text: str, room: int) -> str:
    line = printable(" ".join(text.split()), _REPLACED)
    return line if len(line) <= room else line[: room - 1] + "…"


def description(stored: StoredDeadLetter) -> str:
    """All fields of one dead letter as text."""
    return printable("\n".join(_lines(stored)), _REPLACED, kept="\n")


def _lines(stored: StoredDeadLetter) -> list[str]:
    letter = stored.letter
    attempts = "1 attempt" if letter.attempts == 1 else f"{letter.attempts} attempts"
    lines = [
        f"id         {stored.id}",
        f"stored     {letter.occurred_at:%Y-%m-%d %H:%M:%S} UTC by {letter.consumer} after {attempts}",
        f"source     {stored.source}",
        f"error      {letter.error}",
    ]
    if not letter.complete:
        return [
            *lines,
            "key and value were too large to be stored here; read them at the source before retention deletes them",
        ]
    lines.append(f"key        {readable(letter.source_key)}")
    lines += [f"header     {name}: {value}" for name, value in letter.source_headers.items()]
    return [*lines, f"value      {readable(letter.source_value)}"]


def readable(encoded: str | None) -> str:
    """Decodes base64 for display: as indented JSON, else as text, else the first bytes in hex."""
    try:
        data = decoded(encoded)
    except ValueError:
        return f"not base64: {encoded}"
    if data is None:
        return "none (null, as in a tombstone)"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        more = " ..." if len(data) > _HEX_BYTES else ""
        return f"{len(data)} bytes that are not text: {data[:_HEX_BYTES].hex(' ')}{more}"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return json.dumps(value, indent=2, ensure_ascii=False) if isinstance(value, dict | list) else text


def decoded(encoded: str | None) -> bytes | None:
    """Decodes base64. Raises `ValueError` if the text is not base64."""
    return None if encoded is None else base64.b64decode(encoded, validate=True)


def as_json(stored: StoredDeadLetter) -> str:
    """The unchanged event and the id of the dead letter, as one line of JSON."""
    content: dict[str, Any] = {"id": str(stored.id), **stored.letter.model_dump(mode="json")}
    return json.dumps(content)
