"""Options of the client of an exchange, and its answer to a request for candles."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from collector.exchange.circuit_transitions import ProbePolicy
from collector.exchange.errors import LONGEST_RETRY_AFTER
from collector.exchange.rate_limiter import DEFAULT_BACKGROUND_SHARE


@dataclass(frozen=True)
class CandleResponse:
    """An exchange's response to a request for candles, not validated yet."""

    rows: list[Any]
    """The rows as ccxt parsed them. They may be invalid."""
    as_of_ms: int
    """The exchange's time when the request was sent. Candles that were closed then are final."""
    fetched_at: datetime
    is_time_confirmed: bool = True
    """Whether the exchange's dates show that `as_of_ms` is right."""


@dataclass(frozen=True)
class ClientOptions:
    """Options for the clients of all exchanges."""

    request_timeout_seconds: float = 10.0
    markets_refresh_seconds: float = 900.0
    markets_check_seconds: float = 3600.0
    url_overrides: Mapping[str, str] | None = None
    """Exchange id to base URL; see `redirect_requests`."""
    probe_policy: ProbePolicy = field(default_factory=ProbePolicy)
    longest_retry_after_seconds: float = LONGEST_RETRY_AFTER
    allowed_exchanges: frozenset[str] = frozenset()
    """Requests are sent only to these exchanges; if empty, to all."""
    background_share: float = DEFAULT_BACKGROUND_SHARE
    """See `RequestQueue`."""
    may_send: Callable[[], bool] = lambda: True
    """Whether this collector certainly owns its lanes. Otherwise its requests wait, because another collector may use
    the rate limit of the exchange now.
    """
