"""Reads the YAML of a caller into plain data, in one pass and with limits.

The data is built from the events of the parser, according to the core schema of YAML 1.2. The library's own constructor
takes ten times as long. For some texts, such as many merge keys (`<<`), its time grows with the square of their size.
"""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from ruamel import yaml
from ruamel.yaml import events

MAX_DEPTH: Final = 6
"""The largest depth. It is more than a manifest needs, which is a mapping of a list of mappings of lists."""
MAX_NODES: Final = 400_000
"""The largest number of keys and values. It is enough for ten thousand configs with forty of them each."""
MAX_SCALAR_LENGTH: Final = 4000
"""The largest number of characters of one text. A description has up to 500."""

_PLAIN: Final[tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...]] = (
    (re.compile(r"|~|null|Null|NULL"), lambda _text: None),
    (re.compile(r"true|True|TRUE"), lambda _text: True),
    (re.compile(r"false|False|FALSE"), lambda _text: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text, 0)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: -math.inf if text[0] == "-" else math.inf),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda _text: math.nan),
)
"""The types of scalars without quotes, and their conversions. All other scalars are strings."""
_OLD_NUMBER: Final = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]*_[0-9a-fA-F_]*|[0-9]+_[0-9_.]*)")
"""Matches scalars that are numbers in YAML 1.1 and texts in YAML 1.2."""
_FIRST_OF_OTHER_TYPES: Final = frozenset("~nNtTfF-+.0123456789")


class RefusedYaml(ValueError):  # noqa: N818 -- the name states the problem
    """The text is not valid YAML, or has a construct that is not accepted. The message names the line."""


def read_yaml(text: str, lines_of: str) -> tuple[Any, list[int]]:
    """The data of the only document, and the lines on which the items of the list `lines_of` begin.

    Raises `RefusedYaml`. The time is proportional to the length of the text.
    """
    reader = _Reader(text, lines_of)
    try:
        return reader.document(), reader.lines
    except yaml.error.MarkedYAMLError as error:
        where = f" on line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RefusedYaml(f"the body is not valid YAML{where}: {str(error.problem or error.context)[:200]}") from None
    except yaml.error.YAMLError as error:
        raise RefusedYaml(f"the body is not valid YAML: {str(error).splitlines()[0][:200]}") from None


class _Reader:
    def __init__(self, text: str, lines_of: str) -> None:
        self._events: Iterator[events.Event] = yaml.YAML(typ="safe").parse(text)  # uses libyaml if it is available
        self._lines_of = lines_of
        self._nodes = 0
        self.lines: list[int] = []

    def document(self) -> Any:
        next(self._events)  # the start of the stream
        start = next(self._events)
        if not isinstance(start, events.DocumentStartEvent):
            raise RefusedYaml("the file is empty; write `configs:` and a list")
        if start.version not in {None, (1, 2)}:
            raise RefusedYaml(
                f"line {_line(start)} selects another version of YAML; leave out %YAML, or write %YAML 1.2"
            )
        data = self._value(self._next(), 0)
        next(self._events)  # the end of the document
        if isinstance(second := next(self._events), events.DocumentStartEvent):
            raise RefusedYaml(f"line {_line(second)} begins a second document; send only one")
        return data

    def _next(self) -> events.Event:
        """The next event of the parser, after the checks that do not depend on its position."""
        event = next(self._events)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise RefusedYaml(f"line {_line(event)} exceeds the limit of {MAX_NODES} keys and values")
        if isinstance(event, events.AliasEvent) or getattr(event, "anchor", None):
            raise RefusedYaml(
                f"line {_line(event)} has an anchor or alias (& or *), which is not supported; repeat the value instead"
            )
        if getattr(event, "tag", None):
            raise RefusedYaml(f"line {_line(event)} has a tag (!), which is not supported; leave it out")
        return event

    def _value(self, event: events.Event, depth: int, lines: list[int] | None = None) -> Any:
        if isinstance(event, events.ScalarEvent):
            return _scalar(event)
        if depth == MAX_DEPTH:
            raise RefusedYaml(f"line {_line(event)} is nested too deeply for a file of configs")
        if isinstance(event, events.MappingStartEvent):
            return self._mapping(depth)
        items = []
        while not isinstance(item := self._next(), events.SequenceEndEvent):
            if lines is not None:
                lines.append(_line(item))
            items.append(self._value(item, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(key := self._next(), events.MappingEndEvent):
            if not isinstance(key, events.ScalarEvent) or key.value == "<<":
                raise RefusedYaml(f"line {_line(key)} has a key that is not a name, which is not supported")
            name = _checked(key)
            if name in mapping:
                raise RefusedYaml(
                    f'the body is not valid YAML on line {_line(key)}: found duplicate key "{name[:100]}"'
                )
            is_listed = depth == 0 and name == self._lines_of
            mapping[name] = self._value(self._next(), depth + 1, self.lines if is_listed else None)
        return mapping


def _scalar(event: events.ScalarEvent) -> Any:
    text = _checked(event)
    is_plain = event.implicit[0]
    if is_plain and (not text or text[0] in _FIRST_OF_OTHER_TYPES):
        for pattern, convert in _PLAIN:
            if pattern.fullmatch(text):
                return convert(text)
        if _OLD_NUMBER.fullmatch(text):
            raise RefusedYaml(
                f"line {_line(event)} has {text[:50]!r}, a number of YAML 1.1; write plain digits, or quote a text"
            )
    return text


def _checked(event: events.ScalarEvent) -> str:
    text: str = event.value
    if len(text) > MAX_SCALAR_LENGTH:
        raise RefusedYaml(f"line {_line(event)} has a text of more than {MAX_SCALAR_LENGTH} characters")
    return text


def _line(event: events.Event) -> int:
    return int(event.start_mark.line) + 1 if event.start_mark else 0
