"""The types of input values: their limits, and the error messages for invalid values."""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.config import JsonDict, JsonValue

from contracts.exchange_catalogue import load_catalogue
from contracts.pages import EARLIEST
from contracts.vocabulary import each_once

MAX_ID: Final = 2**63 - 1
"""The maximum of Postgres' bigint."""

LISTING: Final = "listing"
"""The start date of a history that begins with the first candle of the market."""
_START_DATE_PATTERN: Final = r"^(listing|20[1-9][0-9]-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]))$"

_PART = r"[^\s/:|\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]{1,40}"
_SYMBOL = re.compile(f"{_PART}/{_PART}(:{_PART})?")
"""Like the symbol in `contracts`, but without invisible characters."""
_NUMBER = re.compile(r"[+-]?[\d_.]+([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_SPACE_FOR_PLUS = re.compile(r"(T[\d:.]+) (\d\d:?\d\d)$")
_STORABLE_PATTERN: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]*$"
"""Like `_storable`, but surrogates are allowed, because the pattern of a JavaScript client would find them in every
emoji.
"""


class Input(BaseModel):
    """The base of request models. Unknown fields are errors, so that a misspelt field is not ignored silently."""

    model_config = ConfigDict(extra="forbid")


class StrictInput(Input):
    """The base of request bodies with strict types: "10" is not accepted as 10."""

    model_config = ConfigDict(strict=True)


def _storable(value: str) -> str:
    """Refuses NUL and lone surrogates, which Postgres cannot store, and other control characters."""
    if any(
        (ord(character) < ord(" ") and character not in "\n\r\t") or "\ud800" <= character <= "\udfff"
        for character in value
    ):
        raise ValueError("remove the control characters")
    return value


def _known_exchanges(schema: JsonDict) -> None:
    known: list[JsonValue] = [*sorted(load_catalogue().exchanges)]
    schema["enum"] = known


def _known_timeframes(schema: JsonDict) -> None:
    exchanges = load_catalogue().exchanges.values()
    known: list[JsonValue] = [*sorted({each for exchange in exchanges for each in exchange.timeframes})]
    schema["enum"] = known


def _integral(value: object) -> object:
    """Accepts 10.0 as 10: in JSON both are the same number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _symbol(value: str) -> str:
    if not _SYMBOL.fullmatch(value):
        raise ValueError("use ccxt's notation: BASE/QUOTE such as BTC/USDT, or BASE/QUOTE:SETTLE for a swap")
    return _storable(value)


def _start_date(value: str) -> str:
    if value == LISTING:
        return value
    try:
        day = date.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"write a day that exists as YYYY-MM-DD, such as 2024-01-15, or {LISTING}") from error
    if day.isoformat() != value or day < EARLIEST.date():
        raise ValueError(f"write a day from {EARLIEST:%Y-%m-%d} on as YYYY-MM-DD, or {LISTING}")
    return value


def _iso_text(value: object) -> object:
    """Refuse plain numbers, which Pydantic would read as seconds or milliseconds since 1970.

    Also restores the plus sign: `?start_date=2025-01-15T10:00:00+00:00` in a URL arrives with a space instead.
    """
    if not isinstance(value, str):
        return value
    if _NUMBER.fullmatch(value.strip()):
        raise ValueError("write date and time, such as 2025-01-15T10:00:00Z")
    return _SPACE_FOR_PLUS.sub(r"\1+\2", value)


def _date_text(value: object) -> object:
    """Refuse other forms of dates. Pydantic would read them as seconds since 1970, or as midnight of a day."""
    if isinstance(value, str) and not _DATE.fullmatch(value):
        raise ValueError("write a day as YYYY-MM-DD, such as 2025-01-15")
    return value


def _iso_body(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("write date and time as a text, such as 2025-01-15T10:00:00Z")  # noqa: TRY004 -- for Pydantic
    return _iso_text(value)


def _to_utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        return instant.replace(tzinfo=UTC)
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("use a year from 2 to 9998") from error


def _digits(value: object) -> object:
    """Refuses other forms of integers in paths and queries: `+1`, `01`, `1_0`, and digits that are not ASCII. Each id
    has one form, so that logs, caches and rules of proxies see the same text for it.
    """
    if isinstance(value, str) and not _INTEGER.fullmatch(value):
        raise ValueError("write an integer in decimal digits, such as 12")
    return value


DIGITS: Final = BeforeValidator(_digits)
"""The type for integers in paths and queries."""
INTEGRAL_NUMBER: Final = BeforeValidator(_integral)
"""The type for integers in bodies with strict types. It also accepts 10.0."""
SymbolText = Annotated[
    str,
    AfterValidator(_symbol),
    Field(
        description="ccxt's unified symbol, BASE/QUOTE or BASE/QUOTE:SETTLE; stored unchanged.",
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
        description="The timeframes to collect. The exchange must offer each of them.",
        examples=[["1m", "5m", "1h", "1d"]],
        json_schema_extra={"uniqueItems": True},
    ),
    AfterValidator(each_once),
]
IntervalMinutes = Annotated[
    int,
    Field(ge=1, le=10080, description="Minutes between two scheduled runs; 5 or more is recommended.", examples=[10]),
    INTEGRAL_NUMBER,
]
Description = Annotated[
    str,
    Field(
        max_length=500,
        description="A free text for operators.",
        examples=["Bitcoin data"],
        json_schema_extra={"pattern": _STORABLE_PATTERN},
    ),
    AfterValidator(_storable),
]
StartDate = Annotated[
    str,
    Field(
        description="The day (YYYY-MM-DD, UTC, from 2010 on, not in the future) from which the history is kept "
        "complete, or `listing` for the first candle of the market. Null: from the first run.",
        examples=["2024-01-15"],
        json_schema_extra={"maxLength": 10, "pattern": _START_DATE_PATTERN},
    ),
    AfterValidator(_start_date),
]
FilterText = Annotated[
    str, Field(max_length=200, json_schema_extra={"pattern": _STORABLE_PATTERN}), AfterValidator(_storable)
]
QueryInteger = Annotated[int, DIGITS]
RowId = Annotated[int, Field(ge=1, le=MAX_ID), DIGITS]
QueryInstant = Annotated[
    datetime,
    BeforeValidator(_iso_text),
    AfterValidator(_to_utc),
    Field(examples=["2025-01-15T10:00:00Z"]),
]
"""An ISO 8601 date and time; UTC if it has no time zone."""
BodyInstant = Annotated[
    datetime,
    Field(strict=False, examples=["2025-01-15T10:00:00Z"]),
    BeforeValidator(_iso_body),
    AfterValidator(_to_utc),
]
"""Like `QueryInstant`, in a body with strict types."""

QueryDate = Annotated[date, BeforeValidator(_date_text), Field(examples=["2025-01-15"])]
"""A day in the form YYYY-MM-DD."""
