"""Shared types: exchange ids, symbols, timeframes, and the states and error classes of runs."""

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, Field, StringConstraints

from contracts.bounds import MAX_TIMEFRAMES
from contracts.timeframes import TIMEFRAME_PATTERN

_PART: Final = r"[^\s/:|\x00-\x1f\x7f]{1,40}"

ExchangeId = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9_]{2,40}$"),
    Field(description="ccxt's id of the exchange, such as `binance`."),
]

Symbol = Annotated[
    str,
    StringConstraints(pattern=f"^{_PART}/{_PART}(:{_PART})?$"),
    Field(description="ccxt's unified symbol, `BASE/QUOTE` or `BASE/QUOTE:SETTLE`. Case matters on some exchanges."),
]

Timeframe = Annotated[
    str,
    StringConstraints(pattern=TIMEFRAME_PATTERN),
    Field(description="ccxt's timeframe, such as `1m`, `4h`, `1d`, `1w`, `1M` (a calendar month)."),
]


Values = TypeVar("Values", bound=Sequence[Any])


def each_once(values: Values) -> Values:
    """Returns the values unchanged. Raises `ValueError`, which names the values that occur more than once."""
    if len(set(values)) == len(values):
        return values
    repeated = [str(value) for value, count in Counter(values).items() if count > 1]
    are = "is" if len(repeated) == 1 else "are"
    raise ValueError(f"name each value once: {', '.join(repeated[:20])} {are} there more than once")


def _not_empty(timeframes: tuple[str, ...]) -> tuple[str, ...]:
    if not timeframes:
        raise ValueError("at least one timeframe is needed")
    return timeframes


Timeframes = Annotated[
    tuple[Timeframe, ...],
    AfterValidator(_not_empty),
    AfterValidator(each_once),
    Field(max_length=MAX_TIMEFRAMES, description="The timeframes that the config collects; at least one, none twice."),
]

IntervalMinutes = Annotated[int, Field(ge=1, le=10_080)]
"""The interval of a config: from one minute to one week."""

Lane = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,60}$")]
"""The exchange id, plus #n if the exchange has several lanes."""


class RunStatus(StrEnum):
    """The state of a run. It changes once, from running to one of the others, which are final."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"


class JobType(StrEnum):
    """The kind of a run in the run log. The statistics of the operator's guide count only `data_collection`."""

    DATA_COLLECTION = "data_collection"
    """The newest candles of a config, at its interval or on request."""
    BACKFILL = "backfill"
    """A span of history that a start date or a backfill requires."""
    REPAIR = "repair"
    """A span that was read before, and is read again because of a hole, young candles, missing evidence, or an
    audit.
    """


class Trigger(StrEnum):
    """The reason for a run."""

    SCHEDULED = "scheduled"
    """A slot of the config's grid was due."""
    INITIAL = "initial"
    """The config was created or enabled. It is collected at once, and after that on its grid."""
    MANUAL = "manual"
    """A person or a program requested it."""
    RANGE = "range"
    """The backfiller requested a span of one series."""


class ExchangeState(StrEnum):
    """The health of an exchange. In every state but `ok`, collectors send no requests except one probe at a time."""

    OK = "ok"
    THROTTLED = "throttled"
    """We sent too many requests (429)."""
    BANNED = "banned"
    """We continued to send requests after status 429, so the exchange banned us (418)."""
    MAINTENANCE = "maintenance"
    UNREACHABLE = "unreachable"
    """Several consecutive requests got no usable response."""


class CandleSource(StrEnum):
    """The origin of a candle."""

    EXCHANGE = "exchange"
    """The exchange's own candle."""
    TRADES = "trades"
    """The candle was built from all trades of its period, because the exchange does not offer its own candle any
    more.
    """


class ErrorClass(StrEnum):
    """The reason why a run, or one timeframe of a run, collected nothing or not everything. Used in the run log, in
    metrics and in alerts.
    """

    BAD_SYMBOL = "bad_symbol"
    BAD_REQUEST = "bad_request"
    NOT_SUPPORTED = "not_supported"
    AUTHENTICATION = "authentication"
    RATE_LIMITED = "rate_limited"
    BANNED = "banned"
    BLOCKED_LOCATION = "blocked_location"
    """The exchange does not serve the country or region of the collector's address."""
    MAINTENANCE = "maintenance"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    NETWORK = "network"
    BAD_RESPONSE = "bad_response"
    INVALID_DATA = "invalid_data"
    UNPROVEN_TRADES = "unproven_trades"
    """Candles from trades differ from the exchange's own candles, or the exchange has no candles to compare."""
    EXCHANGE_ERROR = "exchange_error"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    ALREADY_RUNNING = "already_running"
    SUPERSEDED = "superseded"
    """A newer tick of the config replaced this tick while it waited for its lane."""
    COLLECTOR_LOST = "collector_lost"
    INTERNAL = "internal"


def job_name(config_id: int) -> str:
    """The name of a config's runs in the run log. It is also the `job_id` in the API."""
    return f"collect_data_{config_id}"
