"""What a collector can be told. Each field is an environment variable in upper case."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from contracts.vocabulary import ExchangeId
from runtime.settings import WorkerSettings


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"{value!r} is not a base URL such as http://127.0.0.1:9900")
    return value.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_base_url)]


class CollectorSettings(WorkerSettings):
    """How many runs at a time, and how to treat the exchanges."""

    http_port: int = Field(default=8002, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    max_shared_runs: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Runs in flight at a time that the lanes share, beside those that each has for itself; the rest "
        "waits.",
    )
    max_runs_per_lane: int = Field(
        default=50,
        ge=1,
        description="Runs in flight of one lane (an exchange), so that a slow exchange leaves room for the others.",
    )
    reserved_runs_per_lane: int = Field(
        default=10,
        ge=0,
        description="So many of a lane's runs come out of no shared room: however many exchanges are slow, another "
        "one's run begins at once.",
    )
    max_pages_per_timeframe: int = Field(
        default=100, ge=1, description="After so many pages a timeframe fails; what was read until then is kept."
    )
    request_timeout_seconds: float = Field(
        default=10.0, gt=0, le=300, description="How long one request to an exchange may take."
    )
    retry_initial_wait_seconds: float = Field(
        default=0.5, gt=0, description="The wait before the first repetition; it doubles from there, with jitter."
    )
    retry_max_wait_seconds: float = Field(default=20.0, gt=0, description="Where the doubling ends.")
    probe_initial_wait_seconds: float = Field(
        default=2.0,
        gt=0,
        description="An exchange that is not well and does not say until when is looked at again after so long; this "
        "doubles with each look.",
    )
    probe_max_wait_seconds: float = Field(default=60.0, gt=0, description="Where that doubling ends.")
    unreachable_after_failures: int = Field(
        default=5, ge=1, description="So many requests in a row without an answer make an exchange unreachable."
    )
    longest_retry_after_seconds: float = Field(
        default=86_400.0,
        gt=0,
        le=30 * 86_400.0,
        description="The longest wait in seconds that an exchange can ask for with Retry-After. A longer one is "
        "shortened to this and logged. Raise it only for an exchange that really bans for longer.",
    )
    markets_refresh_minutes: float = Field(
        default=15.0,
        gt=0,
        description="An unknown symbol makes the exchange's list of markets be read again, at most this often.",
    )
    exchange_url_overrides: dict[ExchangeId, BaseUrl] = Field(
        default_factory=dict,
        description="JSON, exchange id to base URL: ask there instead, with the exchange's own host as the first part "
        "of the path. For a simulator or a proxy.",
    )
