"""Settings of the collector. Each field is an environment variable in upper case."""

from pydantic import Field

from runtime.settings import AllowedExchangesSettings, ExchangeUrls, WorkerSettings


class CollectorSettings(WorkerSettings, AllowedExchangesSettings):
    """Limits for concurrent runs, and rules for requests to the exchanges."""

    http_port: int = Field(
        default=8002,
        ge=0,
        le=65535,
        description="TCP port of the HTTP server for health and metrics. 0: any free port.",
    )
    max_shared_runs: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Number of places for runs that all lanes share. A lane first uses its RESERVED_RUNS_PER_LANE "
        "places. If no place is free, the run waits. Raise it if runs wait although the exchanges respond quickly; "
        "each run uses memory.",
    )
    max_runs_per_lane: int = Field(
        default=50,
        ge=1,
        description="Maximum number of runs in progress of one lane (an exchange), in reserved and shared places "
        "together. Manual runs use at most half of them, so that scheduled runs always find places. Lower it if one "
        "slow exchange takes most of the shared places.",
    )
    reserved_runs_per_lane: int = Field(
        default=10,
        ge=0,
        description="Number of places that each lane has in addition to the shared places. A lane can use them even "
        "when slow exchanges fill all shared places. Half of them are only for scheduled runs. Raise it if runs of a "
        "fast exchange start late.",
    )
    max_range_runs_per_lane: int = Field(
        default=4,
        ge=1,
        le=100,
        description="Number of places of each lane for runs of ranges and for initial runs, in addition to "
        "MAX_RUNS_PER_LANE. Raise it if an exchange responds slowly and its history is read too slowly; each run uses "
        "memory.",
    )
    range_share: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="Maximum share of an exchange's rate limit that runs of ranges and initial runs use while requests "
        "of scheduled or manual runs wait. While no such request waits, they may use the whole rate limit. Raise it to "
        "read history faster, lower it if live runs take too long.",
    )
    max_pages_per_timeframe: int = Field(
        default=100,
        ge=1,
        description="Maximum number of pages (requests) per timeframe and run. If the time since the last candle needs "
        "more pages, the run reads the newest page first, and later runs read the rest. Raise it to catch up faster.",
    )
    settle_minutes: float = Field(
        default=10.0,
        ge=0,
        le=1440,
        description="Minimum age in minutes at which a run accepts that a missing candle between two others does not "
        "exist. Runs read younger candles again, because exchanges publish candles of quiet minutes late. Raise it for "
        "a slower exchange.",
    )
    request_timeout_seconds: float = Field(
        default=10.0,
        gt=0,
        le=300,
        description="Maximum duration of one request to an exchange, in seconds. Raise it for an exchange that often "
        "responds more slowly.",
    )
    retry_initial_wait_seconds: float = Field(
        default=0.5,
        gt=0,
        description="Wait before the first retry of a failed request, in seconds. It doubles with each retry, and a "
        "random part is subtracted. Raise it to send fewer requests to a failing exchange.",
    )
    retry_max_wait_seconds: float = Field(
        default=20.0,
        gt=0,
        description="Maximum wait between two retries, in seconds. It also limits how long a run waits for a probe of "
        "a failing exchange that gave no retry time. A longer Retry-After is still respected. Keep it well below "
        "RUN_DEADLINE_SECONDS.",
    )
    probe_initial_wait_seconds: float = Field(
        default=2.0,
        gt=0,
        description="Wait before the first probe of a failing exchange that gave no retry time, in seconds. It doubles "
        "after each failed probe. Raise it to send fewer probes.",
    )
    probe_max_wait_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Maximum wait between two such probes, in seconds. After a ban without an end time, the first "
        "probe also waits for this time. Lower it to notice the end of an outage earlier.",
    )
    unreachable_after_failures: int = Field(
        default=5,
        ge=1,
        description="Number of consecutive requests without a response after which an exchange counts as unreachable. "
        "Raise it for an unstable network.",
    )
    longest_retry_after_seconds: float = Field(
        default=86_400.0,
        gt=0,
        le=30 * 86_400.0,
        description="Maximum wait that is accepted from an exchange's Retry-After, in seconds. A longer wait is "
        "shortened to this value and logged. Raise it only for an exchange that really bans for longer.",
    )
    markets_refresh_minutes: float = Field(
        default=15.0,
        gt=0,
        description="Minimum time between two reads of an exchange's list of markets, in minutes. If a run has "
        "an unknown symbol, the collector reads the list again. Lower it if newly listed symbols must be found "
        "earlier.",
    )
    markets_check_minutes: float = Field(
        default=60.0,
        gt=0,
        description="Age in minutes at which a run reads an exchange's list of markets again, to find markets that "
        "were listed, suspended, renamed or delisted. Lower it to find such markets earlier. Each read of a list needs "
        "one or more requests.",
    )
    exchange_url_overrides: ExchangeUrls = Field(
        default_factory=dict,
        description="JSON object that maps an exchange id to a base URL. All requests to the exchange go to this URL. "
        "The exchange's own host becomes the first part of the path. Set it only for a simulator or a proxy.",
    )
