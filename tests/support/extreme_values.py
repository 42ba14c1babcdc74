"""Events with extreme values: each field of each example of an event, with each value that JSON can carry."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from contracts.event import Event, event_type

EXAMPLES: Final = Path(__file__).parents[2] / "libs/contracts/examples"

INSTANTS: Final = (
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "0001-01-02T00:00:00Z", "1969-12-31T23:59:59.999999Z"),
    *("1970-01-01T00:00:00Z", "1970-01-01T00:00:00-23:59", "1999-12-31T23:59:60Z", "2199-12-31T23:59:59.999999Z"),
    *("2200-01-01T00:00:00Z", "2200-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-14:00"),
    *("2027-06-01T00:00:00Z", "2100-01-01T00:00:00Z", "infinity", "now"),
)
INTEGERS: Final = (
    *(0, 1, -1, 9_999, 10_001, 2**31 - 1, 2**31, 2**53, 2**62, 2**63 - 1, 2**63, 2**64, 10**30, -(2**63), 10**400),
    *(7_258_118_399_999, 7_258_118_400_000, 253_402_300_800_000, 1 << 50),
)
FLOATS: Final = (1e308, -1e308, 5e-324, -0.0, 0.5, 1e18, float("nan"), float("inf"), float("-inf"))
TEXTS: Final = (
    *("", "\0", "a\0b", "\ud800", "\U0001f512", "\u202e", "x" * 100_000, "\n\t", "A\0/B", "A/B", "A\x7f/\u0085"),
    *("99M", "9y", "999w", "999y", "999M", "1_0", "+1", "01", "\u0661m", "\u0661", "' OR 1=1 --", "binance#64"),
)
OTHERS: Final[tuple[Any, ...]] = (None, True, False, [], {}, [[]], {"a": 1})
VALUES: Final = (*INSTANTS, *INTEGERS, *FLOATS, *TEXTS, *OTHERS)

Place = tuple[str | int, ...]


class Mutant(NamedTuple):
    """An example with one other value."""

    name: str
    """The event, the place and the value, for messages of tests."""
    message: bytes


def examples_of(event: type[Event]) -> list[dict[str, Any]]:
    """The documents of the example files of all versions."""
    return [json.loads(path.read_text()) for path in sorted(EXAMPLES.glob(f"{event_type(event)}/*/*.json"))]


def mutants_of(event: type[Event], examples: int | None = None) -> Iterator[Mutant]:
    """Each place of each example with each value, and with a list that is much too long. `examples`: only this number
    of examples, the newest versions first.
    """
    for document in examples_of(event)[::-1][:examples]:
        for place in _places(document):
            values = list(VALUES)
            if isinstance(found := _at(document, place), list) and found:
                values.append(found * 5_000)
            for value in values:
                yield Mutant(
                    f"{event_type(event)} {'.'.join(map(str, place))} = {value!r:.60}",
                    json.dumps(_with(document, place, value)).encode(),
                )


def _places(value: Any, above: Place = ()) -> Iterator[Place]:
    children: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        children = [(name, each) for name, each in value.items() if name != "type"]
    elif isinstance(value, list):
        children = list(enumerate(value[:1]))
    for name, each in children:
        yield (*above, name)
        yield from _places(each, (*above, name))


def _at(document: Any, place: Place) -> Any:
    for part in place:
        document = document[part]
    return document


def _with(document: Any, place: Place, value: Any) -> Any:
    if not place:
        return value
    first, *rest = place
    if isinstance(document, list):
        assert isinstance(first, int)
        return [*document[:first], _with(document[first], tuple(rest), value), *document[first + 1 :]]
    return {**document, first: _with(document[first], tuple(rest), value)}
