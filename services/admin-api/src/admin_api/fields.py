"""The types of inputs: what is accepted, and the words for what is not."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from contracts.vocabulary import Symbol

MAX_ID: Final = 2**63 - 1
"""Postgres' bigint."""
MAX_SKIP: Final = 1_000_000_000

_SYMBOL = TypeAdapter(Symbol)
_SPACE_FOR_PLUS = re.compile(r"(T[\d:.]+) (\d\d:?\d\d)$")


def _storable(value: str) -> str:
    """Postgres stores neither NUL nor half of a surrogate pair, and no other control character helps anybody."""
    if any(
        (ord(character) < ord(" ") and character not in "\n\r\t") or "\ud800" <= character <= "\udfff"
        for character in value
    ):
        raise ValueError("take out the control characters")
    return value


def _symbol(value: str) -> str:
    try:
        _SYMBOL.validate_python(value)
    except ValidationError:
        value = ""
    if not value.isprintable() or not value:
        raise ValueError("write it as ccxt does: BASE/QUOTE such as BTC/USDT, or BASE/QUOTE:SETTLE for a swap")
    return value


def _no_duplicates(timeframes: list[str]) -> list[str]:
    twice = sorted({timeframe for timeframe in timeframes if timeframes.count(timeframe) > 1})
    if twice:
        raise ValueError(f"name each timeframe once: {', '.join(twice)} is there more than once")
    return timeframes


def _restore_plus(value: object) -> object:
    """`?start_date=2025-01-15T10:00:00+00:00` typed into a URL arrives with a space for the plus."""
    return _SPACE_FOR_PLUS.sub(r"\1+\2", value) if isinstance(value, str) else value


def _to_utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        return instant.replace(tzinfo=UTC)
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("use a year from 2 to 9998") from error


SymbolText = Annotated[
    str,
    AfterValidator(_symbol),
    Field(
        description="ccxt's unified symbol, BASE/QUOTE or BASE/QUOTE:SETTLE; kept as typed.",
        examples=["BTC/USDT"],
        json_schema_extra={"pattern": r"^[^\s/:|]{1,40}/[^\s/:|]{1,40}(:[^\s/:|]{1,40})?$"},
    ),
]
ExchangeText = Annotated[
    str, Field(max_length=40, description="ccxt's id of an exchange that offers candles.", examples=["binance"])
]
TimeframeTexts = Annotated[
    list[Annotated[str, Field(max_length=10)]],
    Field(
        min_length=1,
        max_length=50,
        description="Which candles to collect; each must be offered by the exchange.",
        examples=[["1m", "5m", "1h", "1d"]],
        json_schema_extra={"uniqueItems": True},
    ),
    AfterValidator(_no_duplicates),
]
IntervalMinutes = Annotated[
    int, Field(ge=1, le=10080, description="Collect every so many minutes; 5 or more is advised.", examples=[10])
]
Description = Annotated[
    str, Field(max_length=500, description="For people.", examples=["Bitcoin data"]), AfterValidator(_storable)
]
FilterText = Annotated[str, Field(max_length=200), AfterValidator(_storable)]
RowId = Annotated[int, Field(ge=1, le=MAX_ID)]
QueryInstant = Annotated[
    datetime,
    BeforeValidator(_restore_plus),
    AfterValidator(_to_utc),
    Field(examples=["2025-01-15T10:00:00Z"]),
]
"""ISO 8601; without a zone it is taken as UTC."""
