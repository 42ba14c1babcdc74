"""Dead letters that lie on the shelf: naming, choosing and showing them. No I/O."""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from typing_extensions import override

from contracts.dead_letters import DeadLetter

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LEAST_ERROR_WIDTH = 30
_HEX_BYTES = 64


@dataclass(frozen=True, order=True)
class DeadLetterId:
    """Where a dead letter lies in its topic; written 1-42 it is the letter's id."""

    partition: int
    offset: int

    @override
    def __str__(self) -> str:
        return f"{self.partition}-{self.offset}"

    @staticmethod
    def parse(text: str) -> "DeadLetterId":
        """The place of an id. Raises `ValueError`."""
        if not re.fullmatch(r"\d{1,9}-\d{1,18}", text, re.ASCII):
            raise ValueError(f"{text!r} is not the id of a dead letter, such as 1-42")
        partition, offset = text.split("-")
        return DeadLetterId(int(partition), int(offset))


@dataclass(frozen=True)
class StoredDeadLetter:
    """A dead letter and where it lies."""

    place: DeadLetterId
    letter: DeadLetter

    @property
    def source(self) -> str:
        """Where the message was; the same for all letters about one message."""
        return f"{self.letter.source_topic}/{self.letter.source_partition}/{self.letter.source_offset}"


@dataclass(frozen=True, kw_only=True)
class DeadLetterFilter:
    """Which letters are asked for. None: no condition. Times are those at which they were put aside."""

    topic: str | None = None
    """The source topic, with or without this system's prefix."""
    prefix: str = ""
    since: datetime | None = None
    until: datetime | None = None
    """Not included."""

    def matches(self, letter: DeadLetter) -> bool:
        return (
            (self.topic is None or letter.source_topic in {self.topic, self.prefix + self.topic})
            and (self.since is None or letter.occurred_at >= self.since)
            and (self.until is None or letter.occurred_at < self.until)
        )


def parse_time(text: str, now: datetime) -> datetime:
    """A time as ISO 8601 (UTC unless it names a zone), or as an age: 90s, 30m, 1h, 7d. Raises `ValueError`."""
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
    """A line per letter under a heading; errors are cut to what is left of the width."""
    heading = ("id", "put aside (UTC)", "source", "consumer", "tries", "error")
    rows = [heading, *(_row(each) for each in letters)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heading) - 1)]
    room = max(_LEAST_ERROR_WIDTH, width - sum(widths) - 2 * len(widths))
    return [
        "  ".join([*(cell.ljust(size) for cell, size in zip(row, widths, strict=False)), _cut(row[-1], room)]).rstrip()
        for row in rows
    ]


def _row(shelved: StoredDeadLetter) -> tuple[str, ...]:
    letter = shelved.letter
    when = letter.occurred_at.strftime("%Y-%m-%d %H:%M:%S")
    return (str(shelved.place), when, shelved.source, letter.consumer, str(letter.attempts), letter.error)


def _cut(text: str, room: int) -> str:
    line = _printable(" ".join(text.split()))
    return line if len(line) <= room else line[: room - 1] + "…"


def _printable(text: str) -> str:
    """Whoever sent the message must not command the reader's terminal."""
    return "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text)


def description(shelved: StoredDeadLetter) -> str:
    """Everything about one letter, for a person."""
    return _printable("\n".join(_facts(shelved)))


def _facts(shelved: StoredDeadLetter) -> list[str]:
    letter = shelved.letter
    tries = "1 attempt" if letter.attempts == 1 else f"{letter.attempts} attempts"
    lines = [
        f"id         {shelved.place}",
        f"put aside  {letter.occurred_at:%Y-%m-%d %H:%M:%S} UTC by {letter.consumer} after {tries}",
        f"source     {shelved.source}",
        f"error      {letter.error}",
    ]
    if not letter.complete:
        return [*lines, "key and value were too large to be kept here; they are at the source until it forgets them"]
    lines.append(f"key        {readable(letter.source_key)}")
    lines += [f"header     {name}: {value}" for name, value in letter.source_headers.items()]
    return [*lines, f"value      {readable(letter.source_value)}"]


def readable(encoded: str | None) -> str:
    """What base64 holds: indented JSON, else text, else the first bytes in hex."""
    try:
        data = decoded(encoded)
    except ValueError:
        return f"not base64: {encoded}"
    if data is None:
        return "none (a null, as of a tombstone)"
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
    """The bytes that a letter's base64 stands for. Raises `ValueError` for what is none."""
    return None if encoded is None else base64.b64decode(encoded, validate=True)


def as_json(shelved: StoredDeadLetter) -> str:
    """One line for machines: the event as it is, and the letter's id."""
    content: dict[str, Any] = {"id": str(shelved.place), **shelved.letter.model_dump(mode="json")}
    return json.dumps(content)
