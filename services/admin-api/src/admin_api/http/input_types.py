"""The types of inputs: what is accepted, and the words for what is not."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.config import JsonDict, JsonValue

from admin_api.http.exchange_catalogue import load_catalogue
from contracts.vocabulary import each_once

MAX_ID: Final = 2**63 - 1
"""Postgres' bigint."""

_PART = r"[^\s/:|\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]{1,40}"
_SYMBOL = re.compile(f"{_PART}/{_PART}(:{_PART})?")
"""The contracts' symbol, without what nobody can see."""
_NUMBER = re.compile(r"[+-]?[\d_.]+([eE][+-]?\d+)?")
_SPACE_FOR_PLUS = re.compile(r"(T[\d:.]+) (\d\d:?\d\d)$")
_STORABLE_PATTERN: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]*$"
"""As below, but for surrogates: JavaScript's patterns see them in every emoji."""


class Input(BaseModel):
    """What callers send. Unknown fields are refused, so that a misspelt one is not lost without a word."""

    model_config = ConfigDict(extra="forbid")


class StrictInput(Input):
    """A body of which every value has its own type: "10" is not 10."""

    model_config = ConfigDict(strict=True)


def _storable(value: str) -> str:
    """Postgres stores neither NUL nor half of a surrogate pair, and no other control character helps anybody."""
    if any(
        (ord(character) < ord(" ") and character not in "\n\r\t") or "\ud800" <= character <= "\udfff"
        for character in value
    ):
        raise ValueError("take out the control characters")
    return value


def _known_exchanges(schema: JsonDict) -> None:
    known: list[JsonValue] = [*sorted(load_catalogue())]
    schema["enum"] = known


def _known_timeframes(schema: JsonDict) -> None:
    known: list[JsonValue] = [*sorted({each for exchange in load_catalogue().values() for each in exchange.timeframes})]
    schema["enum"] = known


def _whole(value: object) -> object:
    """To JSON 10.0 is the integer 10."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _symbol(value: str) -> str:
    if not _SYMBOL.fullmatch(value):
        raise ValueError("write it as ccxt does: BASE/QUOTE such as BTC/USDT, or BASE/QUOTE:SETTLE for a swap")
    return _storable(value)


def _written_out(value: object) -> object:
    """Pydantic would take a number for seconds since 1970, or for milliseconds. And
    `?start_date=2025-01-15T10:00:00+00:00` typed into a URL arrives with a space for the plus.
    """
    if not isinstance(value, str):
        return value
    if _NUMBER.fullmatch(value.strip()):
        raise ValueError("write date and time, such as 2025-01-15T10:00:00Z")
    return _SPACE_FOR_PLUS.sub(r"\1+\2", value)


def _to_utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        return instant.replace(tzinfo=UTC)
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("use a year from 2 to 9998") from error


WHOLE: Final = BeforeValidator(_whole)
"""For integers in bodies, which are strict otherwise."""
SymbolText = Annotated[
    str,
    AfterValidator(_symbol),
    Field(
        description="ccxt's unified symbol, BASE/QUOTE or BASE/QUOTE:SETTLE; kept as typed.",
        examples=["BTC/USDT"],
        json_schema_extra={"pattern": f"^{_SYMBOL.pattern}$"},
    ),
]
ExchangeText = Annotated[
    str,
    Field(
        max_length=40,
        description="ccxt's id of an exchange that offers candles.",
        examples=["binance"],
        json_schema_extra=_known_exchanges,
    ),
]
TimeframeTexts = Annotated[
    list[Annotated[str, Field(max_length=10, json_schema_extra=_known_timeframes)]],
    Field(
        min_length=1,
        max_length=50,
        description="Which candles to collect; each must be offered by the exchange.",
        examples=[["1m", "5m", "1h", "1d"]],
        json_schema_extra={"uniqueItems": True},
    ),
    AfterValidator(each_once),
]
IntervalMinutes = Annotated[
    int,
    Field(ge=1, le=10080, description="Collect every so many minutes; 5 or more is advised.", examples=[10]),
    WHOLE,
]
Description = Annotated[
    str,
    Field(
        max_length=500,
        description="For people.",
        examples=["Bitcoin data"],
        json_schema_extra={"pattern": _STORABLE_PATTERN},
    ),
    AfterValidator(_storable),
]
FilterText = Annotated[
    str, Field(max_length=200, json_schema_extra={"pattern": _STORABLE_PATTERN}), AfterValidator(_storable)
]
RowId = Annotated[int, Field(ge=1, le=MAX_ID)]
QueryInstant = Annotated[
    datetime,
    BeforeValidator(_written_out),
    AfterValidator(_to_utc),
    Field(examples=["2025-01-15T10:00:00Z"]),
]
"""ISO 8601; without a zone it is taken as UTC."""
